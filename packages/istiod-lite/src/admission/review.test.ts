import assert from "node:assert/strict";
import fc from "fast-check";
import { DEFAULT_SETTINGS } from "../collections/settings.ts";
import { answerReview, type AdmissionAnswer } from "./review.ts";

const policy = (spec: unknown, meta: object = {}) => ({ apiVersion: "security.istio.io/v1", kind: "AuthorizationPolicy", metadata: { name: "p", namespace: "app", ...meta }, spec });
const GOOD = policy({ rules: [{ from: [{ source: { namespaces: ["x"] } }] }] });
const BAD = policy({ rules: [{ from: [{ source: { namespace: ["x"] } }] }] });
const review = (request: object): string => JSON.stringify({ apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview", request: { uid: "u", operation: "CREATE", namespace: "app", ...request } });
const answer = (request: object): AdmissionAnswer => {
  const answered = answerReview(review(request), DEFAULT_SETTINGS);
  assert.ok(answered.ok, "answered");
  assert.equal(answered.answer.uid, "u");
  return answered.answer;
};
const message = (request: object): string => answer(request).status?.message ?? "";

describe("admission", () => {
  it("lets pass what is understood", () => assert.deepEqual(answer({ object: GOOD }), { uid: "u", allowed: true }));
  it("refuses what is not, with the words of its condition", () => {
    assert.equal(answer({ object: BAD }).allowed, false);
    assert.match(message({ object: BAD }), /^AuthorizationPolicy app\/p is not understood: spec\.rules\[0\]\.from\[0\]\.source\.namespace: is not a field that is understood here$/);
  });
  it("warns of what is enforced differently from how it is written", () => {
    const a = answer({ object: policy({ rules: [{ to: [{ operation: { methods: ["GET"] } }] }] }) });
    assert.equal(a.allowed, true);
    assert.match(a.warnings?.join() ?? "", /ztunnel cannot check spec\.rules\[0\]\.to\[0\]\.operation\.methods/);
  });
  it("says nothing of what depends on others", () =>
    assert.deepEqual(answer({ object: { apiVersion: "v1", kind: "Service", metadata: { name: "s", namespace: "app", labels: { "istio.io/use-waypoint": "later" } }, spec: { ports: [{ port: 1 }] } } }), { uid: "u", allowed: true }));
  it("lets an old mistake be labelled, mended in part and finalized, and no new one in", () => {
    const labelled = { ...BAD, metadata: { ...BAD.metadata, labels: { a: "b" } } };
    assert.equal(answer({ operation: "UPDATE", oldObject: BAD, object: labelled }).allowed, true);
    assert.match(answer({ operation: "UPDATE", oldObject: BAD, object: labelled }).warnings?.[0] ?? "", /still not understood: spec\.rules/);
    assert.equal(answer({ operation: "UPDATE", oldObject: BAD, object: policy({ action: "DENIE" }) }).allowed, false);
    assert.equal(answer({ operation: "UPDATE", oldObject: GOOD, object: BAD }).allowed, false);
  });
  it("lets deletions pass, and kinds that are not ours with a word", () => {
    assert.equal(answer({ operation: "DELETE", object: null, oldObject: BAD }).allowed, true);
    assert.match(answer({ object: { apiVersion: "networking.istio.io/v1alpha3", kind: "EnvoyFilter", metadata: { name: "x" } } }).warnings?.[0] ?? "", /EnvoyFilter is not read/);
  });
  it("knows objects that get their name later", () => assert.equal(answer({ object: { ...GOOD, metadata: { generateName: "p-" } } }).allowed, true));

  const kinds: readonly (readonly [string, object, RegExp])[] = [
    ["PeerAuthentication", { apiVersion: "security.istio.io/v1", spec: { mtls: { mode: "ON" } } }, /spec\.mtls\.mode/],
    ["ServiceEntry", { apiVersion: "networking.istio.io/v1", spec: { hosts: [] } }, /spec\.hosts/],
    ["WorkloadEntry", { apiVersion: "networking.istio.io/v1", spec: { address: "*not*an*address*" } }, /spec\.address/],
  ];
  for (const [kind, o, expected] of kinds) it(`judges ${kind}`, () => assert.match(message({ object: { ...o, kind, metadata: { name: "x", namespace: "app" } } }), expected));

  for (const body of ["", "{", "[]", "{}", "null", JSON.stringify({ kind: "AdmissionReview" }), JSON.stringify({ kind: "AdmissionReview", request: { uid: "" } }), JSON.stringify({ kind: "Pod", request: { uid: "u" } })])
    it(`refuses to answer ${JSON.stringify(body)}`, () => assert.equal(answerReview(body, DEFAULT_SETTINGS).ok, false));

  it("answers whatever object comes, and never more than 10 warnings of 256 characters", () => {
    fc.assert(fc.property(fc.jsonValue({ maxDepth: 4 }), fc.constantFrom("AuthorizationPolicy", "PeerAuthentication"), (spec, kind) => {
      const a = answer({ object: { ...policy(spec), kind } });
      assert.ok((a.warnings ?? []).length <= 10 && (a.warnings ?? []).every((w) => w.length <= 256));
    }), { numRuns: 300 });
    fc.assert(fc.property(fc.jsonValue({ maxDepth: 3 }), (metadata) => { answer({ object: { ...GOOD, metadata } }); }), { numRuns: 300 });
  });
});
