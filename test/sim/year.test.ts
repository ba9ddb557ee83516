// Certificates for a year of virtual time: intermediates and roots change under traffic, and nobody notices (R10, R18–R21 of the parity table).
import assert from "node:assert/strict";
import { createRoller, type AuthorityKeeper } from "@ambit/istiod-lite/testing";
import { DAY_MS, handshake, holder, makeCa, PluggedIn, quiet, replica, SelfSigned, type HandMade, type Holder } from "./certificates.fixture.ts";
import { SimClock } from "./clock.fixture.ts";

const HOUR_MS = 3_600_000;
/** Between two rounds of handshakes. SIM_YEAR_STEP_H=1 looks every hour, and takes minutes. */
const STEP_MS = Number(process.env["SIM_YEAR_STEP_H"] ?? 37) * HOUR_MS;
const ROOT_DAY = 200;
const YEAR_MS = 365 * DAY_MS;
/** Sources are read this often instead of every 10 s. */
const COARSE_MS = HOUR_MS;

class City {
  readonly clock: SimClock;
  readonly holders: Holder[] = [];
  keepers: AuthorityKeeper[] = [];
  handshakes = 0;
  /** The CA answers nobody. */
  down = false;
  #turn = 0;

  constructor() {
    this.clock = new SimClock(Date.UTC(2026, 0, 1), COARSE_MS);
  }

  /** Holders with lives of a day, one of a week and one between, asked for at any replica in turn. */
  settle(count: number): void {
    for (let i = 0; i < count; i++) this.holders.push(holder({ name: `h${i}`, ttlMs: [7, 2.6, 1][Math.min(i, 2)] as number * DAY_MS, clock: this.clock, seed: i + 1, ca: () => this.#anyReplica() }));
  }

  /** Everybody with the next, in a circle; then time passes. */
  async round(stepMs = STEP_MS): Promise<void> {
    for (const [i, client] of this.holders.entries()) {
      const server = this.holders[(i + 1) % this.holders.length] as Holder;
      const wrong = await handshake(await client.current(), await server.current(), this.clock.now());
      this.handshakes++;
      assert.equal(wrong, undefined, `${new Date(this.clock.now()).toISOString()} ${client.name} → ${server.name}: ${wrong}`);
    }
    await this.clock.advance(stepMs);
  }

  close(): void {
    for (const h of this.holders) h.close();
    for (const k of this.keepers) k.close();
  }

  #anyReplica(): AuthorityKeeper {
    if (this.down) throw new Error("the CA is down");
    const keeper = this.keepers[this.#turn++ % this.keepers.length];
    if (keeper === undefined) throw new Error("no replica is up");
    return keeper;
  }
}

describe("certificates over a year", function () {
  this.timeout(300_000);
  let city: City;
  beforeEach(() => { city = new City(); });
  afterEach(() => city.close());

  it("four intermediates and a root change under traffic, told to nobody: no error", async () => {
    const { clock } = city;
    const start = clock.now();
    const secret = new PluggedIn(clock);
    const root1 = await makeCa("root one", start - DAY_MS, 3 * YEAR_MS);
    const root2 = await makeCa("root two", start - DAY_MS, 10 * YEAR_MS);
    const under = async (root: HandMade, n: number): Promise<void> => {
      const intermediate = await makeCa(`intermediate ${n}`, clock.now() - HOUR_MS, 100 * DAY_MS, root);
      // The owner is rude: the new root comes without the old one, and signs from the start.
      secret.put(intermediate, [intermediate], [root]);
    };
    await under(root1, 0);
    // Replicas start at different moments, and one starts anew every month: it knows only what is stored.
    city.keepers = [await replica(secret, clock), await replica(secret, clock)];
    city.settle(3);
    const changes = [[73, root1], [146, root1], [ROOT_DAY, root2], [219, root2], [292, root2]] as const;
    const signers = new Set<string>();
    const roots = new Set<number>();
    let next = 0;
    for (let day = 0; clock.now() < start + YEAR_MS; day = Math.floor((clock.now() - start) / DAY_MS)) {
      const change = changes[next];
      if (change !== undefined && day >= change[0]) {
        next++;
        await under(change[1], next);
      }
      if (day % 30 === 29 && city.keepers.length > 1) {
        // Not while a roll waits: the old key of a plugged-in authority is in memory only.
        const [oldest] = city.keepers;
        if (oldest !== undefined && oldest.status().waiting.length === 0) {
          oldest.close();
          city.keepers = [...city.keepers.slice(1), await replica(secret, clock)];
        }
      }
      for (const k of city.keepers) {
        signers.add(k.current().fingerprint);
        roots.add(k.current().roots.size);
      }
      // Around the change of roots every two hours count.
      await city.round(day >= ROOT_DAY && day < ROOT_DAY + 10 ? 2 * HOUR_MS : STEP_MS);
    }
    assert.equal(signers.size, 6, "five changes were followed");
    assert.deepEqual([...roots].sort(), [1, 2], "roots overlapped, and the old one went");
    for (const k of city.keepers) assert.deepEqual([k.current().roots.size, k.status().waiting], [1, []]);
    assert.ok(city.handshakes >= (3 * YEAR_MS) / STEP_MS, `${city.handshakes} handshakes`);
  });

  it("a self-signed root is rolled by the leader when somebody asks, and the old one goes when nobody uses it", async () => {
    const { clock } = city;
    const secret = await SelfSigned.create(clock.now());
    const keeper = await replica(secret, clock);
    city.keepers = [keeper, await replica(secret, clock)];
    const roller = createRoller({ root: secret, keeper, trustDomain: "cluster.local", clock, log: quiet });
    roller.lead(true);
    city.settle(4);
    const first = keeper.current().anchor;
    for (const until = clock.now() + 10 * DAY_MS; clock.now() < until; ) await city.round();
    secret.asked = true;
    let both = 0;
    let signedByNew = 0;
    const step = 4 * HOUR_MS;
    for (const until = clock.now() + 25 * DAY_MS; clock.now() < until; ) {
      if (keeper.current().roots.size === 2) both += step;
      if (keeper.current().anchor !== first) signedByNew += step;
      await city.round(step);
    }
    assert.equal(secret.rolls, 1);
    assert.deepEqual([keeper.current().roots.size, keeper.current().roots.has(first), keeper.inUse(first)], [1, false, false]);
    assert.equal((await secret.state()).previous, undefined);
    // Everybody knows the new root before it signs, and the old one stays until the last week-long certificate under it has ended.
    assert.ok(both > 5 * DAY_MS && both < 16 * DAY_MS, `both for ${both / DAY_MS} days`);
    assert.ok(signedByNew > 10 * DAY_MS);
    roller.stop();
  });

  it("a root is rolled years before its end, without being asked", async () => {
    const { clock } = city;
    const secret = await SelfSigned.create(clock.now() - 7.9 * YEAR_MS);
    const keeper = await replica(secret, clock);
    city.keepers = [keeper];
    const roller = createRoller({ root: secret, keeper, trustDomain: "cluster.local", clock, log: quiet });
    roller.lead(true);
    await clock.advance(30 * DAY_MS);
    assert.equal(secret.rolls, 0);
    await clock.advance(15 * DAY_MS);
    assert.equal(secret.rolls, 1);
    assert.ok(keeper.current().notAfter - clock.now() > 9 * YEAR_MS, "nobody used the old one: the new one signs at once");
    roller.stop();
  });

  it("a CA that is down from half of a certificate's life to nearly all of it changes nothing", async () => {
    const { clock } = city;
    const secret = await SelfSigned.create(clock.now());
    city.keepers = [await replica(secret, clock)];
    city.settle(4);
    for (const until = clock.now() + 7 * DAY_MS; clock.now() < until; ) await city.round();
    const before = await Promise.all(city.holders.map((h) => h.current()));
    // Day-long certificates renew at about 12 h: down from before the first renewal until 99 % of the youngest life has passed.
    const ends = Math.min(...before.slice(2).map((c) => c.notAfter));
    const life = DAY_MS;
    city.down = true;
    let checked = 0;
    for (const until = ends - life * 0.01; clock.now() < until; await clock.advance(Math.min(HOUR_MS, Math.max(1, until - clock.now())))) {
      for (const [i, client] of city.holders.entries()) {
        assert.equal(await handshake(await client.current(), await (city.holders[(i + 1) % 4] as Holder).current(), clock.now()), undefined);
        checked++;
      }
    }
    assert.ok(checked > 20, `${checked} handshakes while the CA was down`);
    for (const h of city.holders) assert.equal(h.store.list()[0]?.usable, true);
    city.down = false;
    await clock.advance(life * 0.01 + 1000);
    const after = await Promise.all(city.holders.map((h) => h.current()));
    for (const c of after.slice(2)) assert.ok(c.notAfter > ends, "it was renewed in time");
    await city.round();
  });

  it("a Secret whose event nobody saw is picked up, an unusable one is not, and an API server that is away changes nothing", async () => {
    const { clock } = city;
    const secret = new PluggedIn(clock);
    const root = await makeCa("root", clock.now() - DAY_MS, YEAR_MS);
    const [one, two] = [await makeCa("one", clock.now() - HOUR_MS, 90 * DAY_MS, root), await makeCa("two", clock.now() - HOUR_MS, 90 * DAY_MS, root)];
    secret.put(one, [one], [root]);
    const keeper = await replica(secret, clock);
    city.keepers = [keeper];
    const first = keeper.current().fingerprint;
    secret.data = { ...secret.data, "ca-key.pem": two.keyPem };
    await clock.advance(COARSE_MS);
    assert.equal(keeper.current().fingerprint, first);
    secret.away = true;
    secret.put(two, [two], [root]);
    await clock.advance(COARSE_MS);
    assert.equal(keeper.current().fingerprint, first);
    city.settle(2);
    await city.round();
    secret.away = false;
    await clock.advance(COARSE_MS);
    assert.notEqual(keeper.current().fingerprint, first);
    await city.round();
  });

  it("clocks that are five minutes off, either way, change nothing", async () => {
    const { clock } = city;
    const secret = await SelfSigned.create(clock.now() - HOUR_MS);
    const keeper = await replica(secret, clock);
    city.keepers = [keeper];
    const skews = [-300_000, 0, 300_000, -60_000];
    for (const [i, skew] of skews.entries()) city.holders.push(holder({ name: `h${i}`, ttlMs: DAY_MS, clock: clock.skewed(() => skew), caClock: clock, seed: i + 1, ca: () => keeper }));
    for (let step = 0; step < 60; step++) {
      for (const [i, client] of city.holders.entries()) {
        const at = (i + 1) % skews.length;
        // Each side judges by its own clock.
        for (const skew of [skews[i] ?? 0, skews[at] ?? 0])
          assert.equal(await handshake(await client.current(), await (city.holders[at] as Holder).current(), clock.now() + skew), undefined);
      }
      await clock.advance(HOUR_MS);
    }
  });
});
