// Owns strict reading of custom resources: every field is known, every value has its shape, every problem has its path.
import { problem, type Problem } from "@ambit/core";

export type Fields = Readonly<Record<string, unknown>>;

const shown = (v: unknown): string => {
  const text = JSON.stringify(v) ?? "undefined";
  return text.length > SHOWN_MAX ? `${text.slice(0, SHOWN_MAX)}…` : text;
};
/** Characters of a bad value that a message repeats. */
const SHOWN_MAX = 80;
/** After this many problems the rest of an object is noise. */
const PROBLEMS_MAX = 20;

/** Collects problems; every reader returns undefined for an absent value and for a refused one. */
export class Reader {
  readonly problems: Problem[] = [];

  refuse(path: string, message: string): undefined {
    if (this.problems.length < PROBLEMS_MAX) this.problems.push(problem(path, message));
    return undefined;
  }

  /** A mapping whose fields are all in `known`. Null counts as absent, as it does in Kubernetes. */
  object(value: unknown, path: string, known: readonly string[]): Fields | undefined {
    const fields = this.map(value, path);
    for (const key of Object.keys(fields ?? {}))
      if (!known.includes(key)) this.refuse(`${path}.${key}`, "is not a field that is understood here");
    return fields;
  }

  map(value: unknown, path: string): Fields | undefined {
    if (value === undefined || value === null) return undefined;
    if (typeof value !== "object" || Array.isArray(value)) return this.refuse(path, `must be an object, not ${shown(value)}`);
    return value as Fields;
  }

  list(value: unknown, path: string): readonly unknown[] | undefined {
    if (value === undefined || value === null) return undefined;
    if (!Array.isArray(value)) return this.refuse(path, `must be a list, not ${shown(value)}`);
    return value;
  }

  /** A list that says something: an empty one is refused, because "none" and "any" are easily confused. */
  someOf(value: unknown, path: string): readonly unknown[] | undefined {
    const list = this.list(value, path);
    return list?.length === 0 ? this.refuse(path, "must not be an empty list: leave it out, or name something") : list;
  }

  text(value: unknown, path: string): string | undefined {
    if (value === undefined || value === null) return undefined;
    return typeof value === "string" ? value : this.refuse(path, `must be a string, not ${shown(value)}`);
  }

  oneOf<T extends string>(value: unknown, path: string, allowed: readonly T[]): T | undefined {
    const text = this.text(value, path);
    if (text === undefined) return undefined;
    return allowed.find((a) => a === text) ?? this.refuse(path, `must be one of ${allowed.join(", ")}, not ${shown(value)}`);
  }

  /** Non-empty strings, at least one. */
  texts(value: unknown, path: string): readonly string[] | undefined {
    return this.someOf(value, path)?.map((v, i) => {
      const text = this.text(v, `${path}[${i}]`);
      if (text === "" || v === null || v === undefined) this.refuse(`${path}[${i}]`, "must not be empty");
      return text ?? "";
    });
  }

  labels(value: unknown, path: string): Readonly<Record<string, string>> | undefined {
    const fields = this.map(value, path);
    if (fields === undefined) return undefined;
    const out: Record<string, string> = {};
    for (const [key, v] of Object.entries(fields)) {
      if (typeof v === "string" && !v.includes("*")) out[key] = v;
      else this.refuse(`${path}.${key}`, `must be a string without "*", not ${shown(v)}`);
    }
    return out;
  }

  port(value: unknown, path: string): number | undefined {
    const n = typeof value === "string" && /^\d{1,5}$/.test(value) ? Number(value) : value;
    if (typeof n === "number" && Number.isInteger(n) && n >= 1 && n <= 65_535) return n;
    return this.refuse(path, `must be a port from 1 to 65535, not ${shown(value)}`);
  }
}
