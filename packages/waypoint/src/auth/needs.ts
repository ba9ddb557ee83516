// Owns answering what a plan needs to know of a request: its tokens, and what authorization providers say.
import { normalizeTarget, type WaypointConfig } from "@ambit/core";
import type { RequestFacts } from "../facts.ts";
import { changedBy } from "../plan/checks.ts";
import { incomingFields } from "../plan/head.ts";
import { matchFactsOf } from "../plan/match-facts.ts";
import type { RequestNeed } from "../plan/request-plan.ts";
import { tokenFields, tokenRulesFor, type TokenRules } from "../plan/tokens.ts";
import { checkExternally, type CheckPorts } from "./external-check.ts";
import type { KeySets } from "./key-set.ts";
import { verifyTokens } from "./verify-token.ts";

/** The facts with what was needed. Never rejects. */
export async function satisfyNeed(config: WaypointConfig, need: RequestNeed, facts: RequestFacts, keySets: KeySets, ports: CheckPorts): Promise<RequestFacts> {
  const normal = normalizeTarget(facts.target, config.pathNormalization);
  const target = normal.ok ? normal.value : { path: facts.target, query: undefined };
  const { rules }: TokenRules = tokenRulesFor(config, facts.connection, matchFactsOf(config, facts, target, facts.fields));
  if (need.kind === "token") return { ...facts, token: verifyTokens(rules, facts, target.query, keySets) };

  const provider = need.of ?? config.authorizationProviders.get(need.provider);
  if (provider === undefined) return facts;
  // The provider sees what the application will, and the token besides: it may want to judge that itself.
  const { fields: came } = tokenFields(rules.map((r) => ({ ...r, forwardOriginalToken: true })), facts.token, incomingFields(facts.fields), target.query);
  // And what those who were asked before have made of it.
  const fields = [...facts.checks.values()].reduce((f, { verdict }) => (verdict.kind === "allow" ? changedBy(verdict, f) : f), came);
  const answer = await checkExternally(provider, { facts, fields, policy: need.policy, pathNormalization: config.pathNormalization }, ports);
  return { ...facts, checks: new Map([...facts.checks, [provider.name, answer]]) };
}
