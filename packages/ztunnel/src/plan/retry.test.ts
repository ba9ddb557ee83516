import assert from "node:assert/strict";
import { mayTryAnother, type FailedTry } from "./retry.ts";

describe("mayTryAnother", () => {
  const cases: [string, Partial<FailedTry>, boolean][] = [
    ["nobody listens there", { code: "connect-refused" }, true],
    ["a node that vanished", { code: "tunnel-timeout", elapsedMs: 10_000 }, true],
    ["… twice", { code: "tunnel-timeout", tries: 2, elapsedMs: 20_000 }, false],
    ["an address that another pod has now", { code: "identity-mismatch" }, true],
    ["a peer whose application does not listen (yet)", { code: "tunnel-refused", status: 503 }, true],
    ["a peer that says the request is wrong", { code: "tunnel-refused", status: 400 }, false],
    ["a policy's no", { code: "peer-denied", status: 401 }, false],
    ["we have no certificate", { code: "identity-unavailable" }, false],
    ["the client left", { code: "downstream-reset" }, false],
    ["the third in vain", { code: "connect-refused", tries: 3 }, false],
  ];
  for (const [name, t, expected] of cases) it(`${name}: ${expected ? "another" : "no"}`, () => assert.equal(mayTryAnother({ code: "connect-refused", status: undefined, tries: 1, elapsedMs: 5, ...t }), expected));
});
