import assert from "node:assert/strict";
import type { Pod } from "@ambit/kube";
import { podSwitches } from "./facts.ts";

const pod = (annotations: Record<string, string>): Pod => ({ metadata: { name: "p", annotations }, spec: { containers: [] } });
const NONE = { bypassInbound: false, dnsCapture: true, virtualInterfaces: [] };

describe("the switches of a pod", () => {
  for (const [annotations, expected] of [
    [{}, {}],
    [{ "ambient.istio.io/dns-capture": "false" }, { dnsCapture: false }],
    [{ "ambient.istio.io/dns-capture": "perhaps" }, {}],
    [{ "ambient.istio.io/bypass-inbound-capture": "true" }, { bypassInbound: true }],
    [{ "ambient.istio.io/bypass-inbound-capture": "yes" }, {}],
    [{ "istio.io/reroute-virtual-interfaces": "k6t-eth0, tap1,tap1,," }, { virtualInterfaces: ["k6t-eth0", "tap1"] }],
  ] as const) it(JSON.stringify(annotations), () => assert.deepEqual(podSwitches(pod(annotations), true), { ...NONE, ...expected }));
  for (const name of ['a"b', "a b", "a;reboot", "sixteen-letters0", "a/b", "$(x)", "a\nb"])
    it(`${JSON.stringify(name)} is no interface: the pod is refused`, () => assert.throws(() => podSwitches(pod({ "istio.io/reroute-virtual-interfaces": `eth1,${name}` }), true), /reroute-virtual-interfaces: .* is no interface's name/));
});
