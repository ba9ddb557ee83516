import assert from "node:assert/strict";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Clock } from "@ambit/runtime";
import { systemClock } from "@ambit/runtime";
import { KubeClient } from "./client.ts";
import { KINDS, type KubeObject } from "./objects.ts";
import { Reflector } from "./reflector.ts";

const pod = (name: string, rv: number, uid = `uid-${name}`): KubeObject => ({ metadata: { name, namespace: "t", uid, resourceVersion: String(rv) } });
/** Back-off takes no time. */
const clock: Clock = { ...systemClock, sleep: (_ms, signal) => (signal?.aborted ? Promise.reject(signal.reason as Error) : Promise.resolve()) };

describe("Reflector", () => {
  let server: Server;
  let client: KubeClient;
  let answer: (url: URL, res: ServerResponse, req: IncomingMessage) => void;
  let seen: string[];
  let reflector: Reflector;
  let changed: () => void;

  beforeEach(async () => {
    seen = [];
    changed = () => undefined;
    server = createServer((req, res) => answer(new URL(req.url ?? "", "http://x"), res, req));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    client = new KubeClient({ server: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
    reflector = new Reflector(client, KINDS.pods, { clock, random: () => 0 });
    const note = (text: string) => { seen.push(text); changed(); };
    reflector.handle({ onAdd: (o) => note(`add ${o.metadata.name}`), onUpdate: (o, old) => note(`update ${o.metadata.name} ${old.metadata.resourceVersion}→${o.metadata.resourceVersion}`), onDelete: (o) => note(`delete ${o.metadata.name}`), onSynced: () => note("synced") });
  });
  afterEach(async () => {
    await reflector.stop();
    client.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  const until = async (test: () => boolean) => { while (!test()) await new Promise<void>((resolve) => { changed = resolve; }); };
  const list = (res: ServerResponse, rv: number, items: KubeObject[], more: object = {}) => res.setHeader("content-type", "application/json").end(JSON.stringify({ kind: "PodList", metadata: { resourceVersion: String(rv), ...more }, items }));
  const event = (res: ServerResponse, type: string, object: object) => res.write(`${JSON.stringify({ type, object })}\n`);

  it("lists page by page, then follows changes; a bookmark moves only the version", async () => {
    const watches: string[] = [];
    answer = (url, res) => {
      if (url.searchParams.get("watch") === null) return url.searchParams.get("continue") === "next" ? list(res, 10, [pod("b", 2)]) : list(res, 10, [pod("a", 1)], { continue: "next" });
      watches.push(url.searchParams.get("resourceVersion") ?? "");
      if (watches.length > 1) return void res.write("");
      event(res, "ADDED", pod("c", 11));
      event(res, "MODIFIED", pod("a", 12));
      event(res, "DELETED", pod("b", 13));
      event(res, "BOOKMARK", { metadata: { resourceVersion: "20" } });
      return void res.end();
    };
    reflector.start();
    await until(() => seen.length >= 6);
    assert.deepEqual(seen, ["add a", "add b", "synced", "add c", "update a 1→12", "delete b"]);
    while (watches.length < 2) await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(watches, ["10", "20"]);
  });
  it("keeps of every object what it is told to, listed or watched", async () => {
    reflector = new Reflector(client, KINDS.pods, { clock, random: () => 0, keep: (o) => ({ ...o, spec: undefined }) });
    reflector.handle({ onAdd: (o) => { seen.push(`${o.metadata.name} ${String(o["spec"])} ${o.kind}`); changed(); }, onDelete: (o) => { seen.push(`gone ${String(o["spec"])}`); changed(); } });
    answer = (url, res) => {
      if (url.searchParams.get("watch") === null) return void list(res, 10, [{ ...pod("a", 1), spec: "big" }]);
      event(res, "ADDED", { ...pod("b", 11), kind: "Pod", spec: "big" });
      event(res, "DELETED", { ...pod("b", 12), spec: "big" });
    };
    reflector.start();
    await until(() => seen.length >= 3);
    assert.deepEqual(seen, ["a undefined Pod", "b undefined Pod", "gone undefined"]);
  });
  it("after 410 it lists again and tells only the differences", async () => {
    let lists = 0;
    answer = (url, res) => {
      if (url.searchParams.get("watch") === null) return ++lists === 1 ? list(res, 10, [pod("a", 1), pod("b", 2)]) : list(res, 50, [pod("a", 1), pod("c", 40)]);
      if (url.searchParams.get("resourceVersion") !== "10") return void res.write("");
      event(res, "ERROR", { kind: "Status", code: 410, reason: "Expired", message: "too old resource version" });
      return void res.end();
    };
    reflector.start();
    await until(() => seen.includes("delete b"));
    assert.deepEqual(seen, ["add a", "add b", "synced", "add c", "delete b"]);
  });
  it("goes on after refusals, cut streams and answers that are not JSON", async () => {
    let n = 0;
    answer = (url, res) => {
      n++;
      if (n === 1) return void res.writeHead(500, { "content-type": "application/json" }).end('{"reason":"InternalError","message":"no"}');
      if (n === 2) return void res.destroy();
      if (n === 3) return void res.setHeader("content-type", "application/json").end("{not json");
      if (url.searchParams.get("watch") === null) return void list(res, 10, []);
      if (n === 5) return void res.write("{broken\n", () => res.end());
      event(res, "ADDED", pod("late", 11));
    };
    reflector.start();
    await until(() => seen.includes("add late"));
    assert.deepEqual(seen, ["synced", "add late"]);
  });
  it("an object that came back under its name is deleted and added", async () => {
    answer = (url, res) => {
      if (url.searchParams.get("watch") === null) return void list(res, 10, [pod("a", 1, "first")]);
      event(res, "MODIFIED", pod("a", 11, "second"));
    };
    reflector.start();
    await until(() => seen.length === 4);
    assert.deepEqual(seen, ["add a", "synced", "delete a", "add a"]);
  });
  it("is current once an open watch has had the time to tell what was missed, and not a moment longer than it is open", async () => {
    let now = 0;
    let missed: () => void = () => undefined;
    let end: () => void = () => undefined;
    reflector = new Reflector(client, KINDS.pods, { clock: { ...clock, monotonic: () => now }, random: () => 0 });
    reflector.handle({ onAdd: () => changed() });
    let held: () => void = () => undefined;
    const again = new Promise<void>((resolve) => { held = resolve; });
    let watches = 0;
    answer = (url, res) => {
      if (url.searchParams.get("watch") === null) return void list(res, 10, []);
      // The second one gets no answer.
      if (watches++ > 0) return held();
      res.flushHeaders();
      missed = () => void event(res, "ADDED", pod("missed", 11));
      end = () => void res.end();
    };
    assert.equal(reflector.current, false);
    reflector.start();
    await reflector.whenSynced();
    const added = new Promise<void>((resolve) => { changed = resolve; });
    while (watches === 0) await new Promise((resolve) => setImmediate(resolve));
    missed();
    await added;
    assert.equal(reflector.current, false, "just opened");
    now = 999;
    assert.equal(reflector.current, false);
    now = 1_000;
    assert.equal(reflector.current, true);
    end();
    await again;
    assert.equal(reflector.current, false, "ended without an error, and not open again");
  });
  it("stop ends the watch", async () => {
    let closed: () => void = () => undefined;
    const over = new Promise<void>((resolve) => { closed = resolve; });
    answer = (url, res) => {
      if (url.searchParams.get("watch") === null) return void list(res, 10, []);
      res.on("close", closed);
      res.write("\n");
    };
    reflector.start();
    await reflector.whenSynced();
    await new Promise((resolve) => setImmediate(resolve));
    await reflector.stop();
    server.closeAllConnections();
    await Promise.race([over, new Promise((resolve) => setImmediate(resolve))]);
  });
});
