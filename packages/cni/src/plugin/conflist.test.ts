import assert from "node:assert/strict";
import fc from "fast-check";
import { addPlugin, removePlugin } from "./conflist.ts";

const OURS = { type: "istio-cni", name: "istio-cni" };
const LIST = `${JSON.stringify({ cniVersion: "0.3.1", name: "net", plugins: [{ type: "bridge" }, { type: "portmap", capabilities: { portMappings: true } }] })}\n`;

describe("the node's CNI configuration", () => {
  it("gets our plugin last, everything else as it was", () => {
    const added = addPlugin(LIST, OURS);
    assert.ok(added.ok);
    const list = JSON.parse(added.value) as { name: string; plugins: { type: string }[] };
    assert.equal(list.name, "net");
    assert.deepEqual(list.plugins, [{ type: "bridge" }, { type: "portmap", capabilities: { portMappings: true } }, OURS]);
  });
  it("adding twice changes nothing", () => {
    const once = addPlugin(LIST, OURS);
    assert.ok(once.ok);
    const twice = addPlugin(once.value, OURS);
    assert.ok(twice.ok && twice.value === once.value);
  });
  it("moves back to the end when another CNI appended itself, and takes new settings", () => {
    const changed = addPlugin(JSON.stringify({ name: "net", plugins: [{ type: "bridge" }, OURS, { type: "late" }] }), { ...OURS, level: "debug" });
    assert.ok(changed.ok);
    assert.deepEqual((JSON.parse(changed.value) as { plugins: unknown[] }).plugins, [{ type: "bridge" }, { type: "late" }, { ...OURS, level: "debug" }]);
  });
  it("a single .conf becomes a list", () => {
    const changed = addPlugin(JSON.stringify({ cniVersion: "1.0.0", name: "mynet", type: "bridge", bridge: "cni0" }), OURS);
    assert.ok(changed.ok);
    assert.deepEqual(JSON.parse(changed.value), { name: "k8s-pod-network", cniVersion: "1.0.0", plugins: [{ type: "bridge", bridge: "cni0" }, OURS] });
  });
  it("removal leaves what was there before", () => {
    const added = addPlugin(LIST, OURS);
    assert.ok(added.ok);
    const removed = removePlugin(added.value);
    assert.ok(removed.ok);
    assert.equal(removed.value, LIST);
    assert.deepEqual(removePlugin(LIST), { ok: true, value: LIST });
  });
  for (const text of [
    '{ "cniVersion": "1.0.0", "name": "bridge", "plugins": [\n  { "type": "bridge", "x": ["a,]}", {"plugins": [1]}] },\n  { "type": "portmap" } ] }\n',
    '{"plugins":[7],"name":"n","\\u0070lugins" : [ {"type":"a"}\n]}',
    '{"plugins":[{"type":"a","note":"\\\\\\"]"}],"z":{"plugins":[]}}',
    `${JSON.stringify({ name: "net", plugins: [{ type: "calico" }] }, null, 4)}`,
  ]) it(`added, changed and removed, this is the same to the octet: ${text.slice(0, 40)}`, () => {
    const added = addPlugin(text, OURS);
    assert.ok(added.ok && added.value.startsWith(text.slice(0, 10)));
    const changed = addPlugin(added.value, { ...OURS, level: "debug" });
    assert.ok(changed.ok && changed.value.includes('"level":"debug"'));
    assert.deepEqual(removePlugin(changed.value), { ok: true, value: text });
  });
  it("whatever stands in it", () => fc.assert(fc.property(fc.array(fc.dictionary(fc.string(), fc.jsonValue()), { minLength: 1, maxLength: 4 }), fc.dictionary(fc.string(), fc.jsonValue()), fc.constantFrom(0, 1, 2, "\t"), (others, more, space) => {
    const text = JSON.stringify({ ...more, plugins: others.map((o) => ({ ...o, type: "other" })), after: more }, null, space);
    const added = addPlugin(text, OURS);
    assert.ok(added.ok);
    assert.deepEqual(removePlugin(added.value), { ok: true, value: text });
  })));
  for (const [text, says] of [["{", "not JSON"], ["[]", "not a JSON object"], ["{}", 'neither "plugins" nor "type"'], ['{"plugins":[1]}', '"plugins" must be a list'], ['{"plugins":[{"type":"istio-cni"}]}', "no plugin of another kind"]] as const)
    it(`${text}: ${says}`, () => {
      const added = addPlugin(text, OURS);
      assert.ok(!added.ok);
      assert.ok(added.error.includes(says), added.error);
    });
  it("no text crashes it", () => fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (s) => { addPlugin(s, OURS); removePlugin(s); })));
});
