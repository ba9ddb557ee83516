// Owns metric families and their text exposition (Prometheus text format 0.0.4).
// Handles are resolved once per connection and then only incremented: no label work on the hot path.

export type Labels = Readonly<Record<string, string>>;

/** `nowMs`: epoch milliseconds, for whoever knows the time already; default: the clock is asked. */
export interface Counter { inc(by?: number, nowMs?: number): void }
export interface Gauge { set(value: number): void; add(by: number): void }
export interface Histogram { observe(value: number, nowMs?: number): void }

/** `buckets`: of each bound those above the one before it, which is not how they are exposed. */
interface Series { readonly labels: Labels; value: number; touchedMs: number; buckets: number[] | undefined; count: number; expired: boolean }
interface Family {
  readonly name: string; readonly help: string; readonly type: "counter" | "gauge" | "histogram";
  readonly bounds?: readonly number[]; readonly series: Map<string, Series>;
}

/** One label set more than this in a family goes to a single overflow series: cardinality is a bound too. */
export const SERIES_PER_FAMILY_MAX = 20_000;
const OVERFLOW: Labels = { overflow: "true" };

/** Every series of one thread, to be added to those of another. */
export type MetricsSnapshot = readonly { readonly name: string; readonly help: string; readonly type: Family["type"]; readonly bounds?: readonly number[]; readonly series: readonly Series[] }[];

export class Metrics {
  readonly #families = new Map<string, Family>();
  readonly #collectors: (() => void)[] = [];
  readonly #now: () => number;

  constructor(now: () => number = () => Date.now()) {
    this.#now = now;
  }

  counter(name: string, help: string): { with(labels: Labels): Counter } {
    const family = this.#family(name, help, "counter");
    return { with: (labels) => {
      const s = this.#series(family, labels);
      return { inc: (by = 1, nowMs = this.#now()) => { s.value += by; s.touchedMs = nowMs; if (s.expired) this.#revive(family, s); } };
    } };
  }

  gauge(name: string, help: string): { with(labels: Labels): Gauge } {
    const family = this.#family(name, help, "gauge");
    return { with: (labels) => {
      const s = this.#series(family, labels);
      const touch = (): void => { s.touchedMs = this.#now(); if (s.expired) this.#revive(family, s); };
      return { set: (v) => { s.value = v; touch(); }, add: (by) => { s.value += by; touch(); } };
    } };
  }

  histogram(name: string, help: string, bounds: readonly number[]): { with(labels: Labels): Histogram } {
    const family = this.#family(name, help, "histogram", bounds);
    return { with: (labels) => {
      const s = this.#series(family, labels);
      const buckets = (s.buckets ??= bounds.map(() => 0));
      return { observe: (v, nowMs = this.#now()) => {
        let i = 0;
        while (i < bounds.length && !(v <= (bounds[i] ?? Infinity))) i++;
        if (i < bounds.length) buckets[i] = (buckets[i] ?? 0) + 1;
        s.value += v; s.count++; s.touchedMs = nowMs; if (s.expired) this.#revive(family, s);
      } };
    } };
  }

  /** Runs before each scrape: for values that are read rather than counted. */
  onCollect(collect: () => void): void {
    this.#collectors.push(collect);
  }

  /** Drops series whose labels match and that nobody touched since `sinceMs` (epoch). */
  expire(matches: (labels: Labels) => boolean, sinceMs: number): void {
    for (const family of this.#families.values())
      for (const [key, s] of family.series) if (s.touchedMs < sinceMs && matches(s.labels)) {
        family.series.delete(key);
        s.expired = true;
      }
  }

  /** Names stand as they were declared: some of Istio's counters end in `_total`, some do not, and OpenMetrics would make them all. */
  expose(others: readonly MetricsSnapshot[] = []): string {
    if (others.length === 0) this.#collect(); // else `#sum` does
    const out: string[] = [];
    for (const f of (others.length === 0 ? [...this.#families.values()] : this.#sum(others)).sort((a, b) => (a.name < b.name ? -1 : 1))) {
      out.push(`# HELP ${f.name} ${f.help}\n# TYPE ${f.name} ${f.type}\n`);
      for (const s of f.series.values()) {
        if (f.type !== "histogram") {
          out.push(`${f.name}${labelText(s.labels)} ${s.value}\n`);
          continue;
        }
        let below = 0;
        (f.bounds ?? []).forEach((bound, i) => out.push(`${f.name}_bucket${labelText({ ...s.labels, le: String(bound) })} ${(below += s.buckets?.[i] ?? 0)}\n`));
        out.push(`${f.name}_bucket${labelText({ ...s.labels, le: "+Inf" })} ${s.count}\n`);
        out.push(`${f.name}_sum${labelText(s.labels)} ${s.value}\n${f.name}_count${labelText(s.labels)} ${s.count}\n`);
      }
    }
    return out.join("");
  }

  /** What this thread has counted so far. Series are copied by whoever sends them on. */
  snapshot(): MetricsSnapshot {
    this.#collect();
    return [...this.#families.values()].map((f) => ({ ...f, series: [...f.series.values()] }));
  }

  #collect(): void {
    for (const collect of this.#collectors) collect();
  }

  /** Counters, gauges and buckets of equal labels are added. */
  #sum(others: readonly MetricsSnapshot[]): Family[] {
    const sums = new Map<string, Family>();
    for (const f of [this.snapshot(), ...others].flat()) {
      let sum = sums.get(f.name);
      if (sum === undefined) sums.set(f.name, (sum = { ...f, series: new Map() }));
      for (const s of f.series) {
        const key = labelText(s.labels);
        const before = sum.series.get(key);
        sum.series.set(key, before === undefined ? { ...s } : {
          ...before, value: before.value + s.value, buckets: s.buckets?.map((n, i) => n + (before.buckets?.[i] ?? 0)), count: s.count + before.count,
        });
      }
    }
    return [...sums.values()];
  }

  #family(name: string, help: string, type: Family["type"], bounds?: readonly number[]): Family {
    const known = this.#families.get(name);
    if (known !== undefined) return known;
    const family: Family = { name, help, type, series: new Map(), ...(bounds ? { bounds } : {}) };
    this.#families.set(name, family);
    return family;
  }

  /** Whoever holds a series that expired and counts again brings it back. */
  #revive(family: Family, s: Series): void {
    const key = labelText(s.labels);
    const other = family.series.get(key);
    if (other === undefined) {
      s.expired = false;
      family.series.set(key, s);
      return;
    }
    other.value += s.value;
    s.value = 0;
  }

  #series(family: Family, labels: Labels): Series {
    const key = labelText(labels);
    const known = family.series.get(key);
    if (known !== undefined) return known;
    if (family.series.size >= SERIES_PER_FAMILY_MAX && labels !== OVERFLOW) return this.#series(family, OVERFLOW);
    const series: Series = { labels, value: 0, touchedMs: this.#now(), buckets: undefined, count: 0, expired: false };
    family.series.set(key, series);
    return series;
  }
}

/** One connection asks several families in a row with the same labels object: the text is made once. (A WeakMap costs the collector more than it saves.) */
let lastLabels: Labels | undefined;
let lastText = "";

function labelText(labels: Labels): string {
  if (labels === lastLabels) return lastText;
  let text = "";
  for (const [name, value] of Object.entries(labels)) text += `${text === "" ? "{" : ","}${name}="${SPECIAL.test(value) ? escaped(value) : value}"`;
  text = text === "" ? "" : `${text}}`;
  lastLabels = labels;
  lastText = text;
  return text;
}

const SPECIAL = /[\\"\n]/;
const escaped = (value: string): string => value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
