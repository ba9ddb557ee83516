import assert from "node:assert/strict";
import { createLogger, systemClock } from "@ambit/runtime";
import { accountOf, keepToken } from "./token.ts";

const jwt = (claims: unknown) => `h.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.s`;
const OWN = jwt({ sub: "system:serviceaccount:istio-system:istio-cni" });
const log = createLogger("test", { write: () => undefined });

describe("the plugin's own token", () => {
  for (const [token, account] of [[OWN, { namespace: "istio-system", name: "istio-cni" }], [jwt({ sub: "system:node:x" }), undefined], [jwt(null), undefined], ["x", undefined], ["", undefined]] as const)
    it(`${token.slice(0, 12)}… is of ${account?.name}`, () => assert.deepEqual(accountOf(token), account));
  it("is asked for in the agent's name", async () => {
    const asked: string[] = [];
    const kept = await keepToken({ request: (async (_m: string, path: string) => { asked.push(path); return { status: { token: "T" } }; }) as never }, OWN, systemClock, log, () => undefined);
    assert.equal(kept.token, "T");
    assert.deepEqual(asked, ["/api/v1/namespaces/istio-system/serviceaccounts/istio-cni/token"]);
    kept.close();
  });
  it("refused, there is none, and the agent goes on", async () => {
    const kept = await keepToken({ request: (async () => { throw new Error("forbidden"); }) as never }, OWN, systemClock, log, () => undefined);
    assert.equal(kept.token, undefined);
    kept.close();
  });
});
