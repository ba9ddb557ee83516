import assert from "node:assert/strict";
import { cachedResult, labConflist, parseCachedResult, parseCniConfig, pluginEnv, pluginError, pluginInput, resultFile, resultIps, type CniNetwork, type CniPod } from "./cni.ts";

const pod: CniPod = { namespace: "app", name: "web-1", uid: "u-1", sandboxId: "s-1" };
const network = (text: unknown, file = "10-a.conflist"): CniNetwork => { const r = parseCniConfig(file, JSON.stringify(text)); assert.ok("network" in r, JSON.stringify(r)); return r.network; };

describe("CNI configuration", () => {
  it("a list", () => assert.deepEqual(network({ cniVersion: "1.0.0", name: "n", plugins: [{ type: "bridge" }, { type: "istio-cni" }] }).plugins.map((p) => p.type), ["bridge", "istio-cni"]));
  it("a single plugin is a list of one", () => assert.deepEqual(network({ name: "n", type: "ptp" }, "a.conf").plugins.map((p) => p.type), ["ptp"]));
  for (const [name, text, expected] of [
    ["no JSON", "{", /a\.conflist: not JSON/], ["no object", "[]", /not a JSON object/], ["no name", '{"plugins":[{"type":"x"}]}', /name/], ["no plugins", '{"name":"n","plugins":[]}', /plugins/],
    ["a type that is a path", '{"name":"n","plugins":[{"type":"../../bin/sh"}]}', /plugins\[0\]\.type/], ["a plugin that is no object", '{"name":"n","plugins":[7]}', /plugins\[0\]/],
  ] as const) it(`refuses ${name}`, () => { const r = parseCniConfig("a.conflist", text); assert.match("problem" in r ? r.problem : "", expected); });
  it("the lab's own is one", () => assert.deepEqual(network(JSON.parse(labConflist("10.244.1.0/24", "/var/lib/cni/networks"))).plugins.map((p) => p.type), ["bridge", "loopback"]));
});

describe("what a CNI plugin is given", () => {
  it("name, version, the result so far, and only the capabilities it declares", () => {
    const n = network({ cniVersion: "1.0.0", name: "n", plugins: [{ type: "portmap", capabilities: { portMappings: true, bandwidth: true }, snat: true }] });
    const input = JSON.parse(pluginInput(n, n.plugins[0] ?? { type: "" }, { ips: [] }, { portMappings: [{ hostPort: 1 }], other: 1 })) as unknown;
    assert.deepEqual(input, { type: "portmap", snat: true, name: "n", cniVersion: "1.0.0", runtimeConfig: { portMappings: [{ hostPort: 1 }] }, prevResult: { ips: [] } });
  });
  it("no prevResult for the first", () => { const n = network({ name: "n", plugins: [{ type: "bridge" }] }); assert.deepEqual(JSON.parse(pluginInput(n, n.plugins[0] ?? { type: "" }, undefined, {})), { type: "bridge", name: "n", cniVersion: "0.1.0" }); });
  it("the environment", () => {
    const env = pluginEnv("ADD", pod, "/var/run/netns/cni-s-1", "/opt/cni/bin:/usr/lib/cni");
    assert.equal(env["CNI_ARGS"], "IgnoreUnknown=1;K8S_POD_NAMESPACE=app;K8S_POD_NAME=web-1;K8S_POD_INFRA_CONTAINER_ID=s-1;K8S_POD_UID=u-1");
    assert.deepEqual([env["CNI_COMMAND"], env["CNI_CONTAINERID"], env["CNI_IFNAME"], env["CNI_NETNS"]], ["ADD", "s-1", "eth0", "/var/run/netns/cni-s-1"]);
  });
});

describe("what a CNI plugin answers", () => {
  it("addresses of both result shapes", () => {
    assert.deepEqual(resultIps({ ips: [{ address: "10.244.1.2/24" }, { address: "fd00::2/64" }] }), ["10.244.1.2", "fd00::2"]);
    assert.deepEqual(resultIps({ ip4: { ip: "10.1.1.1/16" } }), ["10.1.1.1"]);
    for (const bad of [null, 7, {}, { ips: [{}] }, { ips: "x" }]) assert.deepEqual(resultIps(bad), []);
  });
  it("its own error, or the end of what it printed", () => {
    assert.equal(pluginError("bridge", '{"code":11,"msg":"no","details":"why"}', ""), 'plugin type="bridge" failed: no; why');
    assert.equal(pluginError("bridge", "", "panic: x\n"), 'plugin type="bridge" failed: panic: x');
  });
  it("is kept as libcni keeps it", () => {
    const text = cachedResult(network({ name: "n", plugins: [{ type: "bridge" }] }), pod, "/var/run/netns/cni-s-1", { ips: [] }, []);
    const cache = JSON.parse(text) as Record<string, unknown>;
    assert.deepEqual([cache["kind"], cache["netns"], cache["containerId"], cache["cniArgs"]], ["cniCacheV1", "/var/run/netns/cni-s-1", "s-1", [["IgnoreUnknown", "1"], ["K8S_POD_NAMESPACE", "app"], ["K8S_POD_NAME", "web-1"], ["K8S_POD_INFRA_CONTAINER_ID", "s-1"], ["K8S_POD_UID", "u-1"]]]);
    assert.deepEqual(parseCachedResult(text), { result: { ips: [] }, netns: "/var/run/netns/cni-s-1" });
    assert.equal(resultFile("n", "s-1"), "n-s-1-eth0");
    assert.equal(parseCachedResult("nonsense"), undefined);
  });
});
