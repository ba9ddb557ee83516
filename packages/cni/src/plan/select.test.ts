import assert from "node:assert/strict";
import { selectPod, type EnrolmentRules, type PodFacts } from "./select.ts";
import { decodeSelectors, DEFAULT_SELECTORS, matches } from "./selectors.ts";

const rules: EnrolmentRules = { selectors: DEFAULT_SELECTORS, excludeNamespaces: ["kube-system"], systemNamespace: "istio-system" };
const pod = (more: Partial<PodFacts> = {}): PodFacts => ({ name: "p", namespace: "shop", labels: {}, annotations: {}, namespaceLabels: {}, hostNetwork: false, terminal: false, ...more });
const AMBIENT = { "istio.io/dataplane-mode": "ambient" };
const NONE = { "istio.io/dataplane-mode": "none" };

describe("selectPod: is this pod in the mesh?", () => {
  for (const [what, facts, enrolled] of [
    ["no label anywhere", pod(), false],
    ["its namespace says ambient", pod({ namespaceLabels: AMBIENT }), true],
    ["its namespace says ambient, the pod says none", pod({ namespaceLabels: AMBIENT, labels: NONE }), false],
    ["only the pod says ambient", pod({ labels: AMBIENT }), true],
    ["the namespace says none, the pod says ambient", pod({ namespaceLabels: NONE, labels: AMBIENT }), true],
    ["an unknown mode on the pod does not object", pod({ namespaceLabels: AMBIENT, labels: { "istio.io/dataplane-mode": "sidecar" } }), true],
    ["it uses the node's network", pod({ labels: AMBIENT, hostNetwork: true }), false],
    ["it has a sidecar", pod({ labels: AMBIENT, annotations: { "sidecar.istio.io/status": "{}" } }), false],
    ["its namespace is excluded", pod({ labels: AMBIENT, namespace: "kube-system" }), false],
    ["it is a ztunnel", pod({ labels: { ...AMBIENT, app: "ztunnel" }, namespace: "istio-system" }), false],
    ["somebody else calls himself ztunnel", pod({ labels: { ...AMBIENT, app: "ztunnel" } }), true],
    ["it has ended", pod({ labels: AMBIENT, terminal: true }), false],
  ] as const) it(`${what}: ${enrolled ? "yes" : "no"}`, () => {
    const selection = selectPod(rules, facts);
    assert.equal(selection.enrolled, enrolled, selection.because);
    assert.notEqual(selection.because, "");
  });
});

describe("enablement selectors", () => {
  it("reads matchLabels and every operator", () => {
    const decoded = decodeSelectors([{ podSelector: { matchLabels: { a: "b" }, matchExpressions: [{ key: "k", operator: "In", values: ["1", "2"] }, { key: "e", operator: "Exists" }] }, namespaceSelector: { matchExpressions: [{ key: "n", operator: "DoesNotExist" }] } }]);
    assert.ok(decoded.ok);
    const [selector] = decoded.value;
    assert.ok(selector !== undefined);
    assert.ok(matches(selector.pod, { a: "b", k: "2", e: "" }));
    assert.ok(!matches(selector.pod, { a: "b", k: "3", e: "" }));
    assert.ok(!matches(selector.pod, { a: "b", k: "1" }));
    assert.ok(matches(selector.namespace, {}) && !matches(selector.namespace, { n: "x" }));
  });
  for (const [value, path] of [
    [{}, ""], [[{ podSelectr: {} }], "[0].podSelectr"], [[{ podSelector: { matchLabels: { a: 1 } } }], "[0].podSelector.matchLabels.a"],
    [[{ podSelector: { matchExpressions: [{ key: "k", operator: "Like", values: ["x"] }] } }], "[0].podSelector.matchExpressions[0].operator"],
    [[{ podSelector: { matchExpressions: [{ key: "k", operator: "In" }] } }], "[0].podSelector.matchExpressions[0].values"], [["x"], "[0]"],
  ] as const) it(`${JSON.stringify(value)} is refused at "${path}"`, () => {
    const decoded = decodeSelectors(value);
    assert.ok(!decoded.ok);
    assert.equal(decoded.error[0]?.path, path);
  });
});
