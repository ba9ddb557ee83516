// Owns what comes of external checks (CUSTOM policies, filter ExternalAuth): which provider is to be asked, and what its answers do to the request.
import { changeFields, decodeForm, type AuthorizationProvider, type RequestCheck, type WaypointConfig } from "@ambit/core";
import type { CheckFacts, QueryChange } from "../facts.ts";
import { policyId } from "./authorization.ts";
import { checkDenied, denied } from "./reply.ts";
import type { LocalReply, RequestNeed } from "./request-plan.ts";

export type Checked =
  | { readonly kind: "need"; readonly need: Extract<RequestNeed, { kind: "check" }> }
  | { readonly kind: "deny"; readonly policy: string; readonly reply: LocalReply }
  | { readonly kind: "allow"; readonly change: (fields: readonly string[]) => readonly string[]; readonly query: (query: string | undefined) => string | undefined; readonly toDownstream: readonly (readonly [string, string])[] };

const UNCHECKED: Checked = { kind: "allow", change: (fields) => fields, query: (query) => query, toDownstream: [] };

/** Every provider that a matching policy names must allow, one after the other; one that nobody configured denies what the policy matches. */
export function decideChecks(config: WaypointConfig, checks: readonly RequestCheck[], answers: ReadonlyMap<string, CheckFacts>): Checked {
  return decide(checks.map(({ provider, by }) => ({ name: provider, provider: config.authorizationProviders.get(provider), by: policyId(by.policy, by.rule) })), answers);
}

/** A route's own provider. Its name is nobody else's: it has a space. */
export function decideRouteCheck(provider: AuthorizationProvider, answers: ReadonlyMap<string, CheckFacts>): Checked {
  return decide([{ name: provider.name, provider, by: provider.name, of: provider }], answers);
}

interface Asked { readonly name: string; readonly provider: AuthorizationProvider | undefined; readonly by: string; readonly of?: AuthorizationProvider }

function decide(checks: readonly Asked[], answers: ReadonlyMap<string, CheckFacts>): Checked {
  if (checks.length === 0) return UNCHECKED;
  let change = (fields: readonly string[]): readonly string[] => fields;
  let query = (text: string | undefined): string | undefined => text;
  const toDownstream: (readonly [string, string])[] = [];
  const asked = new Set<string>();
  for (const { name, provider, by: policy, of } of checks) {
    if (asked.has(name)) continue;
    asked.add(name);
    if (provider === undefined) return { kind: "deny", policy, reply: denied(`${policy}-deny-due-to-bad-CUSTOM-action`) };
    const answer = answers.get(name);
    if (answer === undefined) return { kind: "need", need: { kind: "check", provider: name, policy, ...(of === undefined ? {} : { of }) } };
    const { verdict } = answer;
    if (verdict.kind === "failed" && provider.failOpen && !verdict.bodyTooLarge) continue;
    if (verdict.kind !== "allow") return { kind: "deny", policy, reply: checkDenied(verdict, provider.statusOnError) };
    const before = change;
    change = (fields) => changedBy(verdict, before(fields));
    if (verdict.query !== undefined) {
      const [earlier, more] = [query, verdict.query];
      query = (text) => changeQuery(earlier(text), more);
    }
    toDownstream.push(...verdict.toDownstream);
  }
  return { kind: "allow", change, query, toDownstream };
}

/** The request's fields as a provider that allows it wants them. */
export const changedBy = (verdict: Extract<CheckFacts["verdict"], { kind: "allow" }>, fields: readonly string[]): readonly string[] =>
  changeFields(fields, { set: verdict.set, add: verdict.append, remove: verdict.remove });

function changeQuery(query: string | undefined, { set, remove }: QueryChange): string | undefined {
  const gone = new Set([...remove, ...set.map(([name]) => name)]);
  const kept = (query === undefined || query === "" ? [] : query.split("&")).filter((pair) => !gone.has(decodeForm(pair.split("=", 1)[0] ?? "")));
  const all = [...kept, ...set.map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`)];
  return all.length === 0 ? undefined : all.join("&");
}
