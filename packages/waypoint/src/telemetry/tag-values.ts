// Owns the values of tags that a Telemetry reads off each request (tagOverrides with an expression), and that clients cannot make series without end by them.
import { compileText, type Attributes, type TelemetrySettings, type TextOf } from "@ambit/core";
import type { RequestRecord } from "../http/options.ts";
import type { TagValues } from "./labels.ts";
import { SeriesCache } from "./series-cache.ts";

/** Different values of one expression: methods, hosts and codes have fewer; what a client may choose has no end. */
export const VALUES_MAX = 200;
/** Characters of a value. */
const TEXT_MAX = 128;
const OVERFLOW = "overflow";
/** Combinations of values whose series are looked up by cache. */
const COMBINATIONS_MAX = 1_024;

/** The expressions of these settings, each once. */
const expressionsOf = ({ overrides }: TelemetrySettings["metrics"]): string[] => [...new Set(overrides.flatMap((o) => (o.expressionTags ?? []).map(([, expression]) => expression)))];

export class TagReader<R> {
  readonly #read: readonly { readonly expression: string; readonly text: TextOf<R>; readonly seen: Set<string> }[];

  constructor(settings: TelemetrySettings["metrics"], attributes: Attributes<R>) {
    this.#read = expressionsOf(settings).flatMap((expression) => {
      const made = compileText(expression, attributes);
      // The control plane refuses what is not understood; of another version of it the tag is unknown.
      return made.ok ? [{ expression, text: made.value, seen: new Set<string>() }] : [];
    });
  }

  /** What has no value is not in it. */
  values(record: R): TagValues {
    const out = new Map<string, string>();
    for (const { expression, text, seen } of this.#read) {
      const value = text(record)?.slice(0, TEXT_MAX);
      if (value === undefined) continue;
      if (seen.size < VALUES_MAX) seen.add(value);
      out.set(expression, seen.has(value) ? value : OVERFLOW);
    }
    return out;
  }
}

/** Series by the values of such tags, and within them as others are. */
export class TaggedSeries<T> {
  readonly #tags: TagReader<RequestRecord>;
  readonly #make: (r: RequestRecord, settings: TelemetrySettings["metrics"], values: TagValues) => T;
  #caches = new Map<string, SeriesCache<T>>();

  constructor(tags: TagReader<RequestRecord>, make: (r: RequestRecord, settings: TelemetrySettings["metrics"], values: TagValues) => T) {
    this.#tags = tags;
    this.#make = make;
  }

  of(r: RequestRecord, settings: TelemetrySettings["metrics"]): T {
    const values = this.#tags.values(r);
    const key = JSON.stringify([...values]);
    let cache = this.#caches.get(key);
    if (cache === undefined) {
      if (this.#caches.size >= COMBINATIONS_MAX) this.#caches = new Map();
      this.#caches.set(key, (cache = new SeriesCache((record, s) => this.#make(record, s, values))));
    }
    return cache.of(r, settings);
  }
}

export const hasExpressions = ({ overrides }: TelemetrySettings["metrics"]): boolean => overrides.some((o) => o.expressionTags !== undefined && o.expressionTags.length > 0);
