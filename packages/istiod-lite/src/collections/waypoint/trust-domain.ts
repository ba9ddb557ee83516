// Owns how a principal of one trust domain stands for the same principal under every alias of it (l7-authz.md §2).
import type { StringMatch } from "@ambit/core";

/** `own`: the mesh's trust domain and its aliases. A principal of another domain stays what it is. */
export function expandTrustDomains(match: StringMatch, own: readonly string[]): readonly StringMatch[] {
  if (match.kind === "presence" || own.length < 2) return [match];
  const slash = match.value.indexOf("/");
  if (slash === -1) return [match];
  const domain = match.value.slice(0, slash);
  const rest = match.value.slice(slash);
  if (match.kind === "suffix") {
    // `*/ns/…` has them all already; `*tail/ns/…` stands for every domain as soon as one of ours ends so.
    if (domain === "" || !own.some((d) => d.endsWith(domain))) return [match];
    return [match, ...own.filter((d) => !d.endsWith(domain)).map((d): StringMatch => ({ kind: "exact", value: `${d}${rest}` }))];
  }
  return own.includes(domain) ? own.map((d): StringMatch => ({ kind: match.kind, value: `${d}${rest}` })) : [match];
}
