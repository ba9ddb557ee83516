// The law of the engine: after any sequence of batches, the incremental state equals one computed from scratch.
import assert from "node:assert/strict";
import { Graph, type Collection, type Source } from "./index.ts";

interface Pod { readonly id: string; readonly ns: string; readonly tag: string }
interface Out { readonly id: string; readonly text: string }

/** COLLECTIONS_STEPS raises it (10^5 nightly). */
const STEPS = Number(process.env["COLLECTIONS_STEPS"] ?? 4000);
const SEED = Number(process.env["COLLECTIONS_SEED"] ?? 20260101);

function build() {
  const g = new Graph();
  const out = { key: (o: Out) => o.id };
  const pods = g.source<Pod>("pods", { key: (p) => p.id });
  const services = g.source<Pod>("services", { key: (p) => p.id });
  const spaces = g.source<Pod>("spaces", { key: (p) => p.id });
  const byNs = g.index("services by ns", services, (s) => [s.ns]);
  const direct = g.derive("by key", pods, out, (ctx, p) => ({ id: p.id, text: `${p.tag}/${ctx.fetchOne(spaces, { key: p.ns })?.tag ?? "?"}` }));
  const selected = g.derive("by index and predicate", pods, out, (ctx, p) =>
    ({ id: p.id, text: ctx.fetch(services, { index: [byNs, p.ns], where: (s) => s.tag === p.tag }).map((s) => s.id).join() }));
  const scanned = g.derive("by scan", spaces, out, (ctx, n) => ({ id: n.id, text: ctx.fetch(selected, { where: (s) => s.text.includes(n.tag) }).map((s) => s.id).join() }));
  const rival = g.derive("rivals", services, { key: (o: Out) => o.id }, (ctx, s) =>
    s.tag === "t0" ? undefined : [{ id: s.ns, text: s.id }, { id: s.tag, text: `${s.id}${ctx.fetchOne(direct, { key: `p${s.id.slice(1)}` })?.text ?? ""}` }]);
  const joined = g.join("joined", [rival, direct, scanned]);
  const groups = g.group("groups", joined, (o) => o.text.split("/"));
  const chain = g.derive("chain", groups, out, (ctx, group) => ({ id: group.key, text: `${group.items.length}${ctx.fetchOne(rival, { key: group.key })?.text ?? ""}` }));
  const all: Collection<unknown>[] = [pods, services, spaces, direct, selected, scanned, rival, joined, groups, chain];
  return { g, sources: [pods, services, spaces] as const, all };
}

/** xorshift32: the test package of a package without dependencies brings its own. */
function randomOf(seed: number): (n: number) => number {
  let x = seed | 0 || 1;
  return (n) => { x ^= x << 13; x ^= x >>> 17; x ^= x << 5; return (x >>> 0) % n; };
}

describe("incremental recomputation", () => {
  it(`equals computation from scratch after each of ${STEPS} random batches (seed ${SEED})`, () => {
    const random = randomOf(SEED);
    const live = build();
    const mirror = live.all.map((c) => {
      const copy = new Map<string, unknown>();
      c.onChange((changes) => {
        for (const ch of changes) {
          assert.deepEqual(copy.get(ch.key), ch.before, `${c.name}/${ch.key}: before`);
          assert.notDeepEqual(ch.before, ch.after);
          if (ch.after === undefined) copy.delete(ch.key);
          else copy.set(ch.key, ch.after);
        }
      });
      return copy;
    });
    for (let step = 0; step < STEPS; step++) {
      live.g.batch(() => { for (let n = random(4) === 0 ? random(20) : 1; n > 0; n--) mutate(live.sources, random); });
      live.all.forEach((c, i) => assert.equal(mirror[i]?.size, c.size, `step ${step}: events of ${c.name} lead elsewhere`));
      // From scratch is costly: often at first, then now and then.
      if (step < 200 || random(25) === 0) compare(live, step);
    }
    compare(live, STEPS);
  }).timeout(600_000);
});

function mutate([pods, services, spaces]: readonly [Source<Pod>, Source<Pod>, Source<Pod>], random: (n: number) => number): void {
  const kind = random(5);
  const [source, prefix, count] = kind < 2 ? ([pods, "p", 30] as const) : kind < 4 ? ([services, "s", 12] as const) : ([spaces, "n", 4] as const);
  const id = `${prefix}${random(count)}`;
  if (random(4) === 0) source.delete(id);
  else source.set({ id, ns: `n${random(4)}`, tag: `t${random(3)}` });
}

function compare(live: ReturnType<typeof build>, step: number): void {
  const fresh = build();
  fresh.g.batch(() => fresh.sources.forEach((s, i) => { for (const item of live.sources[i]?.list() ?? []) s.set(item); }));
  live.all.forEach((c, i) => assert.deepEqual(c.list(), fresh.all[i]?.list(), `step ${step}: ${c.name}`));
}
