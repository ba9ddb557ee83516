// Owns what trust domains mean in policies: a principal stands for itself under every alias, and a domain alone is a set of principals (l7-authz.md §2).
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

/** The principals of a domain, for a wire that has no field for domains. Undefined: no one match means them (`*.org`). */
export function principalsOfDomain(domain: StringMatch): StringMatch | undefined {
  switch (domain.kind) {
    case "presence": return domain;
    case "exact": return { kind: "prefix", value: `${domain.value}/` };
    case "prefix": return domain;
    case "suffix": return undefined;
  }
}
