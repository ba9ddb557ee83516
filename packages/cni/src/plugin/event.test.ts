import assert from "node:assert/strict";
import fc from "fast-check";
import { decodeEvent, encodeEvent } from "./event.ts";

describe("the plugin's message to the agent", () => {
  it("is read as it was written", () => {
    const event = { netns: "/var/run/netns/cni-1", name: "web-0", namespace: "shop", ips: ["10.0.0.5", "2001:db8::5"] };
    assert.deepEqual(decodeEvent(encodeEvent(event)), { ok: true, value: event });
  });
  it("reads what Istio's own plugin sends", () => {
    const text = '{"Netns":"/var/run/netns/x","PodName":"a","PodNamespace":"b","IPs":[{"Interface":0,"Address":{"IP":"10.0.0.5","Mask":"////AA=="},"Gateway":"10.0.0.1"}]}';
    assert.deepEqual(decodeEvent(text), { ok: true, value: { netns: "/var/run/netns/x", name: "a", namespace: "b", ips: ["10.0.0.5"] } });
  });
  for (const [text, path] of [
    ["", ""], ["null", ""], ["{}", "Netns"], ['{"Netns":"/x","PodName":"","PodNamespace":"b"}', "PodName"], ['{"Netns":"/x","PodName":"a","PodNamespace":7}', "PodNamespace"],
    ['{"Netns":"/x\\u0000y","PodName":"a","PodNamespace":"b"}', "Netns"], ['{"Netns":"/x","PodName":"a","PodNamespace":"b","IPs":{}}', "IPs"], ['{"Netns":"/x","PodName":"a","PodNamespace":"b","IPs":[{"Address":{"IP":"x"}}]}', "IPs[0].Address.IP"],
  ] as const) it(`${text || "(nothing)"} is refused at "${path}"`, () => {
    const decoded = decodeEvent(text);
    assert.ok(!decoded.ok);
    assert.equal(decoded.error[0]?.path, path);
  });
  it("no text crashes it", () => fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (s) => { decodeEvent(s); })));
});
