// Owns finding the first of many routes that a request meets: what nearly every miss fails by is compared first, and each field is looked up once for all of them.
import { fieldValue } from "./fields.ts";
import type { RequestMatch } from "./match.ts";
import { isPseudoHeader, matchRequest, prefixStem, repeats, type MatchFacts } from "./match-request.ts";

/** No column: the match demands no field that can be compared ahead. */
const NONE = -1;

/**
 * One match. Everything but `match` is something that must hold of a request wherever the whole match does, so it may be compared first and can only say
 * no; whoever passes is still asked by `matchRequest`.
 */
class Row {
  readonly match: RequestMatch;
  readonly path: string | undefined;
  readonly pathWhole: boolean;
  readonly method: string | undefined;
  readonly column: number;
  readonly value: string;
  readonly valueWhole: boolean;

  constructor(match: RequestMatch, columnOf: (name: string) => number) {
    const { path, method } = match;
    const literal = path === undefined || path.kind === "regex" || path.ignoreCase ? undefined : path;
    const header = match.headers.find((h, i) => !h.invert && (h.value.kind === "exact" || h.value.kind === "prefix") && !isPseudoHeader(h.name) && !repeats(match.headers, i));
    this.match = match;
    this.path = literal === undefined ? undefined : literal.kind === "path-prefix" ? prefixStem(literal.value) : literal.value;
    this.pathWhole = literal?.kind === "exact";
    this.method = method?.kind === "exact" ? method.value : undefined;
    this.column = header === undefined ? NONE : columnOf(header.name);
    this.value = header !== undefined && "value" in header.value ? header.value.value : "";
    this.valueWhole = header?.value.kind === "exact";
  }
}

/** Of matches in order of precedence. */
export class RouteTable {
  readonly #rows: readonly Row[];
  /** Fields that rows compare ahead, and what this request has of them; null: not looked up yet. */
  readonly #names: string[] = [];
  readonly #seen: (string | undefined | null)[] = [];

  constructor(matches: readonly RequestMatch[]) {
    this.#rows = matches.map((m) => new Row(m, (name) => this.#columnOf(name)));
  }

  /** Index of the first that holds; -1: none. */
  find(facts: MatchFacts): number {
    const rows = this.#rows;
    const seen = this.#seen;
    for (let i = 0; i < seen.length; i++) seen[i] = null;
    for (let i = 0; i < rows.length; i++) {
      const row = rows[i];
      if (row === undefined) break;
      if (row.column !== NONE) {
        let value = seen[row.column];
        if (value === null) seen[row.column] = value = fieldValue(facts.fields, this.#names[row.column] ?? "");
        if (value === undefined || !(row.valueWhole ? value === row.value : value.startsWith(row.value))) continue;
      }
      if (row.path !== undefined && !(row.pathWhole ? facts.path === row.path : facts.path.startsWith(row.path))) continue;
      if (row.method !== undefined && row.method !== facts.method) continue;
      if (matchRequest(row.match, facts)) return i;
    }
    return -1;
  }

  #columnOf(name: string): number {
    const at = this.#names.indexOf(name);
    if (at >= 0) return at;
    this.#seen.push(null);
    return this.#names.push(name) - 1;
  }
}
