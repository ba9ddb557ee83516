// Owns how single values of an L7 policy are compared: plain strings, path templates, hosts, request principals.
import { bareHost } from "../route/hostname.ts";
import { stringMatches } from "./authorize.ts";
import type { StringMatch } from "./policy.ts";
import type { PathPattern } from "./request-policy.ts";

/** `path` is normalised and has no query. */
export const pathPatternMatches = (pattern: PathPattern, path: string, loosely: boolean): boolean =>
  pattern.kind === "template" ? templateMatches(pattern.value, path, loosely) : stringMatches(pattern, path);

/**
 * `{*}`: one segment that is not empty. `{**}`: any number of segments. Literals after it are a suffix: `/a/{**}/b` matches `/a//b` and
 * `/a/x/y/b`, and loosely also `/a/b`, which one may as well read into it. Linear in the path.
 */
export function templateMatches(template: string, path: string, loosely: boolean): boolean {
  const many = template.indexOf("{**}");
  if (many < 0) return segmentsMatch(template.split("/"), path.split("/"));
  const before = template.slice(0, many).split("/");
  const after = template.slice(many + "{**}".length).split("/");
  const segments = path.split("/");
  // `before` ends and `after` begins with the empty text around `{**}`; it stands for at least one segment, which may be empty.
  const head = before.slice(0, -1);
  const tail = after.slice(1);
  const between = segments.length - head.length - tail.length;
  if (between < (loosely && tail.length > 0 ? 0 : 1)) return false;
  return segmentsMatch(head, segments.slice(0, head.length)) && segmentsMatch(tail, segments.slice(segments.length - tail.length));
}

const segmentsMatch = (wanted: readonly string[], seen: readonly string[]): boolean =>
  wanted.length === seen.length && wanted.every((w, i) => (w === "{*}" ? seen[i] !== "" : seen[i] === w));

/** What is wrong with a path template; undefined: nothing. */
export function checkTemplate(template: string): string | undefined {
  if (!template.startsWith("/")) return "a template begins with /";
  let many = false;
  for (const segment of template.slice(1).split("/")) {
    if (segment === "{*}" || segment === "{**}") {
      if (many) return `${segment} after {**}`;
      many = segment === "{**}";
    } else if (/[*{}]/.test(segment)) return `the segment "${segment}" mixes text and operator`;
    else if (!PCHARS.test(segment)) return `the segment "${segment}" has characters that a path has not`;
  }
  return undefined;
}
/** RFC 3986 §3.3. */
const PCHARS = /^(?:[A-Za-z0-9\-._~!$&'()+,;=:@]|%[0-9A-Fa-f]{2})*$/;

/** Case does not matter; the authority is compared with its port. */
export const hostMatches = (match: StringMatch, authority: string): boolean => stringMatches(lowerCase(match), authority.toLowerCase());
/** Also without port and final dot: what a rule that denies must not be got round by. */
export const hostMatchesLoosely = (match: StringMatch, authority: string): boolean => hostMatches(match, authority) || hostMatches(match, bareHost(authority));

const lowerCase = (match: StringMatch): StringMatch => (match.kind === "presence" ? match : { kind: match.kind, value: match.value.toLowerCase() });

/**
 * `ISS/SUB`, split at the last slash. `*`: both are there. `*x/sub`: issuer ends so, subject exactly. `*x`: subject ends so. `iss/x*`: issuer
 * exactly, subject begins so. `x*`: issuer begins so.
 */
export function requestPrincipalMatches(match: StringMatch, issuer: string, subject: string): boolean {
  if (issuer === "" || subject === "") return false;
  if (match.kind === "presence") return true;
  const slash = match.value.lastIndexOf("/");
  const [iss, sub] = slash < 0 ? ["", match.value] : [match.value.slice(0, slash), match.value.slice(slash + 1)];
  switch (match.kind) {
    case "exact": return slash >= 0 && issuer === iss && subject === sub;
    case "suffix": return slash < 0 ? subject.endsWith(sub) : issuer.endsWith(iss) && subject === sub;
    case "prefix": return slash < 0 ? issuer.startsWith(sub) : issuer === iss && subject.startsWith(sub);
  }
}
