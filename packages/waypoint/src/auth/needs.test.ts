import assert from "node:assert/strict";
import type { AuthorizationProvider } from "@ambit/core";
import type { CheckFacts } from "../facts.ts";
import { config, request, world } from "../plan/plan.fixture.ts";
import type { CheckMessage, CheckPorts } from "./external-check.ts";
import { KeySets } from "./key-set.ts";
import { satisfyNeed } from "./needs.ts";

const provider = (name: string): AuthorizationProvider => ({
  name, protocol: "http", service: "security/auth", port: 80, timeoutMs: 1_000, failOpen: false, statusOnError: 403, pathPrefix: "", includeRequestHeaders: ["x-*"], includeAdditionalHeaders: [], includeRequestBody: undefined,
  headersToUpstreamOnAllow: ["x-*"], headersToDownstreamOnDeny: [], headersToDownstreamOnAllow: [],
});

describe("what a plan needs to know", () => {
  const sent: CheckMessage[] = [];
  const ports: CheckPorts = {
    send: async (_provider, message) => { sent.push(message); return { status: 200, fields: ["x-second", "yes"], trailers: [], body: new Uint8Array() }; },
    deadline: () => ({ signal: new AbortController().signal, dispose: () => undefined }), peek: () => assert.fail("no body is asked for"),
  };
  const first: CheckFacts = { provider: "first", verdict: { kind: "allow", set: [["x-user", "ann"]], append: [], remove: ["x-secret"], toDownstream: [] } };
  const facts = request(world(), { fields: ["x-user", "forged", "x-secret", "1", "x-other", "2"], checks: new Map([["first", first]]) });

  for (const [name, need] of [
    ["by its name in the configuration", { kind: "check", provider: "second", policy: "p" }], ["that the need brings along", { kind: "check", provider: "ExternalAuth of a rule", policy: "p", of: provider("ExternalAuth of a rule") }],
  ] as const) it(`a provider ${name} is asked about the request as those before it left it`, async () => {
    sent.length = 0;
    const after = await satisfyNeed(config({ authorizationProviders: new Map([["second", provider("second")]]) }), need, facts, new KeySets(), ports);
    assert.deepEqual(sent[0]?.fields, ["x-other", "2", "x-user", "ann"]);
    assert.deepEqual([[...after.checks.keys()], after.checks.get(need.provider)?.verdict], [["first", need.provider], { kind: "allow", append: [], remove: [], set: [["x-second", "yes"]], toDownstream: [] }]);
  });
  it("a provider that is gone leaves everything as it was", async () => assert.equal(await satisfyNeed(config(), { kind: "check", provider: "second", policy: "p" }, facts, new KeySets(), ports), facts));
});
