// Owns a case of the contract: what is asked, and the comparison of all that was seen with what Kubernetes answered.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { REAL, useCluster, type Cluster } from "./cluster.fixture.ts";
import { at, differ, masked, maskedText, refusal } from "./masks.fixture.ts";
import { Wire, type Answer, type Asking, type Json, type JsonObject, type WatchEvent, type WatchStream } from "./wire.fixture.ts";

/** Controllers get this long to do what a case waits for. */
const PATIENCE_MS = 20_000;
const POLL_MS = 25;
const CASE_MS = 45_000;
/** More than these are rather one that shifted everything. */
const DIFFERENCES_MAX = 25;
/** `record`: what the real API server answers is written down as the expectation. */
const RECORD = process.env["CONTRACT_EXPECT"] === "record";

export interface How extends Asking {
  /** What of the answer is compared: its code alone, some paths, or (left out) all of it. Refusals are always compared whole. */
  readonly show?: "code" | readonly string[] | ((body: Json) => Json);
  readonly managed?: boolean;
  /** Sent as another user, with the right of the administrator to do so. */
  readonly as?: string | { readonly user: string; readonly groups: readonly string[] };
  /** Numbers in a refusal's messages differ from run to run. */
  readonly digits?: boolean;
  /** The words of a refusal are not compared (those of a foreign decoder, or with a whole object in them). */
  readonly loose?: boolean;
  /** Of a refusal, only code and reason are compared (where it is told in the terms of a program's insides). */
  readonly brief?: boolean;
}

export type Body = JsonObject & { metadata: JsonObject };

/** A case: everything it asks and notes is its transcript. */
export class Talk {
  readonly cluster: Cluster;
  readonly #wire: Wire;
  readonly #words = new Map<string, string>();
  readonly #seen: Json[] = [];
  readonly #open: WatchStream[] = [];
  readonly #made: string[];
  ns: string;

  constructor(cluster: Cluster, wire: Wire, ns: string, made: string[]) {
    this.cluster = cluster;
    this.#wire = wire;
    this.#made = made;
    this.ns = ns;
    this.mask(ns, "NS");
  }

  get transcript(): Json[] { return this.#seen; }

  /** From now on `text` is shown as `word`. */
  mask(text: string, word: string): void {
    if (text !== "") this.#words.set(text, word);
  }

  /** `~/pods/x` is /api/v1/namespaces/NS/pods/x; `~apps/v1/deployments` is that of a group. */
  path(short: string): string {
    if (!short.startsWith("~")) return short;
    const [, prefix = "", rest = ""] = /^~([^/]+\/[^/]+)?(\/.*)$/.exec(short) ?? [];
    return `${prefix === "" ? "/api/v1" : `/apis/${prefix}`}/namespaces/${this.ns}${rest}`;
  }

  /** A namespace of this case's own, gone after the suite. */
  async namespace(labels: JsonObject = {}): Promise<string> {
    this.ns = await makeNamespace(this.#wire, "own", labels, this.#made);
    this.mask(this.ns, "NS");
    return this.ns;
  }

  #send(method: string, path: string, body: unknown, how: How): Promise<Answer> {
    const user = typeof how.as === "string" ? { user: how.as, groups: [] } : how.as;
    const acting = user === undefined ? {} : { "impersonate-user": user.user, ...(user.groups.length > 0 ? { "impersonate-group": [...user.groups] } : {}) };
    return this.#wire.ask(method, this.path(path), body, { ...how, headers: { ...acting, ...how.headers } });
  }

  /** Sends a request; what is answered is part of the contract. */
  async ask(method: string, path: string, body?: unknown, how: How = {}): Promise<Answer> {
    const answer = await this.#send(method, path, body, how);
    const line: JsonObject = { ask: maskedText(`${method} ${path}`, { words: this.#words, managed: false }), code: answer.code };
    const warnings = answer.headers["warning"];
    if (warnings !== undefined) line["warning"] = this.#masked(String(warnings), how);
    const shown = this.#shown(answer, how);
    if (shown !== undefined) line["body"] = shown;
    this.#seen.push(line);
    return answer;
  }

  #shown(answer: Answer, how: How): Json | undefined {
    if (answer.code >= 400) {
      return refusal(this.#masked(answer.json ?? answer.text, how), how);
    }
    if (how.show === "code") return undefined;
    if (how.show === undefined) return this.#masked(answer.json ?? answer.text, how);
    if (typeof how.show === "function") return this.#masked(how.show(answer.json ?? answer.text), how);
    const picked: JsonObject = {};
    for (const path of how.show) picked[path] = at(answer.json, path);
    return this.#masked(picked, how);
  }

  #masked(value: Json, how: How): Json {
    return masked(value, { words: this.#words, managed: how.managed === true });
  }

  /** Sends a request that only prepares or clears up: it has to succeed. */
  async quiet(method: string, path: string, body?: unknown, how: How = {}): Promise<Body> {
    const answer = await this.#send(method, path, body, how);
    assert.ok(answer.code < 300, `${method} ${path}: ${answer.code} ${answer.text.slice(0, 1000)}`);
    return answer.json as Body;
  }

  /** The answer itself, neither compared nor required to be a success. */
  raw(method: string, path: string, body?: unknown, how: How = {}): Promise<Answer> {
    return this.#send(method, path, body, how);
  }

  /** Adds something seen elsewhere to what is compared. */
  note(label: string, value: Json, how: How = {}): void {
    this.#seen.push({ note: label, value: this.#masked(value, how) });
  }

  /** Asks again and again until the answer satisfies `ok`; only then it is compared (when `how.show` says what of it). */
  async until(path: string, what: string, ok: (answer: Answer) => boolean, how?: How): Promise<Answer> {
    const deadline = Date.now() + PATIENCE_MS;
    for (;;) {
      const answer = await this.#send("GET", path, undefined, how ?? {});
      if (ok(answer)) {
        if (how !== undefined) this.#seen.push({ until: what, code: answer.code, ...(this.#shown(answer, how) === undefined ? {} : { body: this.#shown(answer, how) as Json }) });
        return answer;
      }
      if (Date.now() > deadline) assert.fail(`${path}: ${what} did not come: ${answer.code} ${answer.text.slice(0, 2000)}`);
      await delay(POLL_MS);
    }
  }

  async watch(path: string, how: How = {}): Promise<Watched> {
    const stream = await this.#wire.watch(this.path(path), how);
    this.#open.push(stream);
    return new Watched(stream, (events) => this.#seen.push({ watch: maskedText(path, { words: this.#words, managed: false }), code: stream.code, events: this.#masked(events, how) }));
  }

  close(): void {
    for (const stream of this.#open) stream.close();
  }
}

export class Watched {
  readonly stream: WatchStream;
  readonly #see: (events: Json) => void;

  constructor(stream: WatchStream, see: (events: Json) => void) {
    this.stream = stream;
    this.#see = see;
  }

  /** The next `count` events are part of the contract, shown as `pick` says; null is the end of the stream. */
  async take(count: number, pick: (event: WatchEvent) => Json = named): Promise<(WatchEvent | null)[]> {
    const events: (WatchEvent | null)[] = [];
    while (events.length < count) {
      const event = await this.stream.next();
      events.push(event);
      if (event === null) break;
    }
    this.#see(events.map((event) => (event === null ? "END" : pick(event))));
    return events;
  }
}

/** An event as its type and the object's name. */
export function named({ type, object }: WatchEvent): Json {
  return type === "ERROR" ? { type, object } : `${type} ${String(at(object, "kind"))} ${String(at(object, "metadata.name") ?? "")}`;
}

async function makeNamespace(wire: Wire, suite: string, labels: JsonObject, made: string[]): Promise<string> {
  const name = `ct-${suite}-${randomBytes(4).toString("hex")}`;
  const answer = await wire.ask("POST", "/api/v1/namespaces", { metadata: { name, labels } });
  assert.equal(answer.code, 201, answer.text);
  made.push(name);
  // Pods need their account, which a controller makes.
  for (const deadline = Date.now() + PATIENCE_MS; ;) {
    const account = await wire.ask("GET", `/api/v1/namespaces/${name}/serviceaccounts/default`);
    if (account.code === 200) return name;
    if (Date.now() > deadline) assert.fail(`namespace ${name} got no default ServiceAccount`);
    await delay(POLL_MS);
  }
}

export interface Suite {
  /** A case: its title is the name of its expectation. */
  it(title: string, run: (talk: Talk) => Promise<void>): void;
}

/** Cases that have to be seen alike on the lab and on Kubernetes; expectations are in testdata/NAME.json. */
export function contract(name: string, define: (suite: Suite) => void): void {
  describe(`contract: ${name}`, function () {
    this.timeout(CASE_MS);
    const cluster = useCluster();
    const file = join(import.meta.dirname, "testdata", `${name}.json`);
    const expected = existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as Record<string, Json>) : {};
    const recorded: Record<string, Json> = {};
    const titles: string[] = [];
    const made: string[] = [];
    let wire: Wire;
    let ns: string;

    before(async () => {
      if (RECORD) assert.ok(REAL, "expectations are what a real API server answers: CONTRACT=kubernetes");
      wire = new Wire(cluster.get().config);
      ns = await makeNamespace(wire, name, {}, made);
    });
    after(async () => {
      for (const each of made) await wire.ask("DELETE", `/api/v1/namespaces/${each}`);
      wire.close();
      await cluster.release();
      if (RECORD) write(file, titles, { ...expected, ...recorded });
    });

    define({
      it(title, run) {
        titles.push(title);
        it(title, async () => {
          const talk = new Talk(cluster.get(), wire, ns, made);
          try {
            await run(talk);
          } finally {
            talk.close();
          }
          if (RECORD) {
            recorded[title] = talk.transcript;
            return;
          }
          const wanted = expected[title];
          assert.ok(wanted !== undefined, `testdata/${name}.json has no expectation of this case: record it from a real API server`);
          const differences = differ(wanted, talk.transcript);
          if (differences.length > 0) assert.fail(`what Kubernetes answers, and what was answered:\n${differences.slice(0, DIFFERENCES_MAX).join("\n")}`);
        });
      },
    });
    it("has no expectation without a case", () => {
      if (!RECORD) assert.deepEqual(Object.keys(expected).filter((title) => !titles.includes(title)), []);
    });
  });
}

/** One line per thing seen: a change of one answer is a change of one line. */
function write(file: string, titles: readonly string[], cases: Readonly<Record<string, Json>>): void {
  const parts = titles.filter((title) => cases[title] !== undefined)
    .map((title) => `${JSON.stringify(title)}: [\n${(cases[title] as Json[]).map((line) => `  ${JSON.stringify(line)}`).join(",\n")}\n]`);
  writeFileSync(file, `{\n${parts.join(",\n")}\n}\n`);
}
