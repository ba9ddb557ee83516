// Owns what comes of external checks (CUSTOM): which provider is to be asked, and what its answers do to the request.
import { changeFields, type RequestCheck, type WaypointConfig } from "@ambit/core";
import type { CheckFacts } from "../facts.ts";
import { policyId } from "./authorization.ts";
import { checkDenied, denied } from "./reply.ts";
import type { LocalReply, RequestNeed } from "./request-plan.ts";

export type Checked =
  | { readonly kind: "need"; readonly need: RequestNeed }
  | { readonly kind: "deny"; readonly policy: string; readonly reply: LocalReply }
  | { readonly kind: "allow"; readonly change: (fields: readonly string[]) => readonly string[]; readonly toDownstream: readonly (readonly [string, string])[] };

/** Every provider that a matching policy names must allow, one after the other; one that nobody configured denies what the policy matches. */
export function decideChecks(config: WaypointConfig, checks: readonly RequestCheck[], answers: ReadonlyMap<string, CheckFacts>): Checked {
  let change = (fields: readonly string[]): readonly string[] => fields;
  const toDownstream: (readonly [string, string])[] = [];
  const asked = new Set<string>();
  for (const { provider: name, by } of checks) {
    if (asked.has(name)) continue;
    asked.add(name);
    const policy = policyId(by.policy, by.rule);
    const provider = config.authorizationProviders.get(name);
    if (provider === undefined) return { kind: "deny", policy, reply: denied(`${policy}-deny-due-to-bad-CUSTOM-action`) };
    const answer = answers.get(name);
    if (answer === undefined) return { kind: "need", need: { kind: "check", provider: name, policy } };
    const { verdict } = answer;
    if (verdict.kind === "failed" && provider.failOpen && !verdict.bodyTooLarge) continue;
    if (verdict.kind !== "allow") return { kind: "deny", policy, reply: checkDenied(verdict, provider.statusOnError) };
    const before = change;
    change = (fields) => changeFields(before(fields), { set: verdict.set, add: verdict.append, remove: verdict.remove });
    toDownstream.push(...verdict.toDownstream);
  }
  return { kind: "allow", change, toDownstream };
}
