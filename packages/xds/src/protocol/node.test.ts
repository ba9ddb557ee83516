import assert from "node:assert/strict";
import { checkNode, proxyNode } from "./node.ts";

const identity = { trustDomain: "cluster.local", namespace: "ns", serviceAccount: "sa" };
const good = "ztunnel~10.0.0.1~pod.ns~ns.svc.cluster.local";

describe("checkNode", () => {
  const cases: [string, string, Record<string, unknown>, string][] = [
    ["a ztunnel", good, { NAMESPACE: "ns", NODE_NAME: "n1" }, "ztunnel n1"],
    ["IPv6", "waypoint~fd00::1~pod.ns~ns.svc.cluster.local", {}, "waypoint "],
    ["a name without namespace", "ztunnel~10.0.0.1~pod~ns.svc.cluster.local", {}, "ztunnel "],
    ["the address in metadata", "ztunnel~~pod.ns~ns.svc.cluster.local", { INSTANCE_IPS: "10.0.0.1,fd00::1" }, "ztunnel "],
    ["the matching service account", good, { SERVICE_ACCOUNT: "sa" }, "ztunnel "],
    ["an empty service account", good, { SERVICE_ACCOUNT: "" }, "ztunnel "],
    ["three parts", "ztunnel~10.0.0.1~pod.ns", {}, "invalid: node id \"ztunnel~10.0.0.1~pod.ns\" does not have the four parts role~ip~name.namespace~domain"],
    ["five parts", `${good}~x`, {}, `invalid: node id "${good}~x" does not have the four parts role~ip~name.namespace~domain`],
    ["an unknown role", "proxy~10.0.0.1~pod.ns~ns.svc", {}, 'invalid: node id "proxy~10.0.0.1~pod.ns~ns.svc": unknown role "proxy"'],
    ["no address", "ztunnel~x~pod.ns~ns.svc", { INSTANCE_IPS: ["y"] }, 'invalid: node id "ztunnel~x~pod.ns~ns.svc": neither it nor INSTANCE_IPS has an IP address'],
    ["no name", "ztunnel~10.0.0.1~~ns.svc", {}, 'invalid: node id "ztunnel~10.0.0.1~~ns.svc": empty name'],
    ["another namespace", good, { NAMESPACE: "other" }, 'denied: node says namespace "other", the token says "ns"'],
    ["another domain", "ztunnel~10.0.0.1~pod.ns~other.svc", {}, 'denied: node says namespace "other", the token says "ns"'],
    ["another service account", good, { SERVICE_ACCOUNT: "root" }, 'denied: node says service account "root", the token says "sa"'],
    ["a service account that is no text", good, { SERVICE_ACCOUNT: ["sa", "x"] }, 'denied: node says service account "sa,x", the token says "sa"'],
    ["no id", "", {}, "invalid: the first request carries no node"],
  ];
  for (const [name, id, metadata, expected] of cases)
    it(name, () => {
      const v = checkNode({ id, metadata }, identity);
      assert.equal(v.ok ? `${v.role} ${v.nodeName}` : `${v.code}: ${v.reason}`, expected);
    });
  it("accepts the node that our own proxies send", () => {
    const node = proxyNode({ role: "ztunnel", ip: undefined, podName: "z", podNamespace: "ns", nodeName: "n1", extra: { NAMESPACE: "x", CLUSTER_ID: "c" } });
    assert.deepEqual(node, { id: "ztunnel~1.1.1.1~z.ns~ns.svc.cluster.local", metadata: { CLUSTER_ID: "c", NAME: "z", NAMESPACE: "ns", INSTANCE_IPS: "1.1.1.1", NODE_NAME: "n1" } });
    assert.equal(checkNode(node, identity).ok, true);
  });
});
