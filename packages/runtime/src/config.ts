// Owns the reading of environment variables: declared once, parsed once, every problem reported together.

export interface EnvVar<T> {
  readonly env: string;
  readonly default: T | undefined;
  readonly help: string;
  readonly parse: (text: string) => T;
}
export type EnvSchema = Readonly<Record<string, EnvVar<unknown>>>;
export type Parsed<S extends EnvSchema> = { readonly [K in keyof S]: S[K] extends EnvVar<infer T> ? T : never };

const DURATION = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/;
const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Go-like durations of one unit (`10s`, `5m`, `1.5h`), also several in a row (`1h30m`). Milliseconds. */
export function parseDuration(text: string): number {
  const parts = text.match(/\d+(?:\.\d+)?(?:ms|s|m|h|d)/g);
  if (parts === null || parts.join("") !== text) throw new Error(`"${text}" is not a duration such as 10s, 5m or 1h30m`);
  return parts.reduce((sum, part) => {
    const [, n, unit] = DURATION.exec(part) ?? [];
    return sum + Number(n) * (UNIT_MS[unit ?? ""] ?? 0);
  }, 0);
}

export const env = {
  string: (name: string, fallback: string | undefined, help: string): EnvVar<string> => ({
    env: name, default: fallback, help, parse: (t) => t,
  }),
  integer: (name: string, fallback: number | undefined, help: string, min = 0, max = Number.MAX_SAFE_INTEGER): EnvVar<number> => ({
    env: name, default: fallback, help,
    parse: (t) => {
      const n = Number(t);
      if (!/^-?\d+$/.test(t) || n < min || n > max) throw new Error(`"${t}" is not a whole number from ${min} to ${max}`);
      return n;
    },
  }),
  boolean: (name: string, fallback: boolean | undefined, help: string): EnvVar<boolean> => ({
    env: name, default: fallback, help,
    parse: (t) => {
      if (/^(true|1|t|yes)$/i.test(t)) return true;
      if (/^(false|0|f|no)$/i.test(t)) return false;
      throw new Error(`"${t}" is not true or false`);
    },
  }),
  duration: (name: string, fallbackMs: number | undefined, help: string): EnvVar<number> => ({
    env: name, default: fallbackMs, help, parse: parseDuration,
  }),
};

/** Throws one Error naming every variable that is missing or malformed. Empty means unset. */
export function readEnv<S extends EnvSchema>(schema: S, source: Readonly<Record<string, string | undefined>>): Parsed<S> {
  const problems: string[] = [];
  const out: Record<string, unknown> = {};
  for (const [key, spec] of Object.entries(schema)) {
    const text = source[spec.env];
    if (text === undefined || text === "") {
      if (spec.default === undefined) problems.push(`${spec.env} is required: ${spec.help}`);
      out[key] = spec.default;
      continue;
    }
    try {
      out[key] = spec.parse(text);
    } catch (error) {
      problems.push(`${spec.env}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  if (problems.length > 0) throw new Error(`bad configuration:\n  ${problems.join("\n  ")}`);
  return Object.freeze(out) as Parsed<S>;
}
