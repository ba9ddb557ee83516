import assert from "node:assert/strict";
import { request } from "node:http";
import { commonRoutes, serveHttp, text } from "./admin.ts";
import { systemClock } from "./clock.ts";
import { env, parseDuration, readEnv } from "./config.ts";
import { createLogger, errorText, LogLevels, Secret } from "./log.ts";
import { Metrics } from "./metrics.ts";
import { backoffDelay, seededRandom } from "./random.ts";
import { Readiness } from "./readiness.ts";
import { Scope } from "./scope.ts";

describe("configuration from the environment", () => {
  const schema = { name: env.string("NAME", undefined, "a name"), port: env.integer("PORT", 80, "a port", 1, 65535), on: env.boolean("ON", false, "a switch"), wait: env.duration("WAIT", 1000, "a time") } as const;
  it("is typed, defaulted and frozen", () => {
    const config = readEnv(schema, { NAME: "x", WAIT: "1h30m", ON: "true" });
    assert.deepEqual({ ...config }, { name: "x", port: 80, on: true, wait: 5_400_000 });
    assert.ok(Object.isFrozen(config));
  });
  it("names every problem at once", () => assert.throws(() => readEnv(schema, { PORT: "70000", ON: "maybe", WAIT: "soon" }), (e) =>
    e instanceof Error && ["NAME is required", 'PORT: "70000"', 'ON: "maybe"', 'WAIT: "soon"'].every((part) => e.message.includes(part))));
  for (const [text_, ms] of [["250ms", 250], ["10s", 10_000], ["1.5h", 5_400_000], ["2d", 172_800_000]] as const) it(`${text_} is ${ms} ms`, () => assert.equal(parseDuration(text_), ms));
  for (const bad of ["", "10", "s", "10 s", "-1s", "1h x"]) it(`"${bad}" is no duration`, () => assert.throws(() => parseDuration(bad)));
});

describe("logs", () => {
  it("speak Istio's JSON and its plain lines too, and a value cannot begin another field", () => {
    const lines: string[] = [];
    for (const format of ["json", "plain"] as const) {
      const log = createLogger("test", { write: (l) => lines.push(l), now: () => 0, format }).child("access");
      log.info("connection complete", { "src.addr": "10.0.0.1:80", "src.identity": "spiffe://a/ns/b/sa/c", bytes_sent: 5, duration: "12ms", error: "x\ty\nz=\"1\"", list: ["a"], gone: undefined });
      log.info("bare");
    }
    assert.deepEqual(lines, [
      '{"time":"1970-01-01T00:00:00.000Z","level":"info","scope":"access","message":"connection complete","src.addr":"10.0.0.1:80","src.identity":"spiffe://a/ns/b/sa/c","bytes_sent":5,"duration":"12ms","error":"x\\ty\\nz=\\"1\\"","list":["a"]}\n',
      '{"time":"1970-01-01T00:00:00.000Z","level":"info","scope":"access","message":"bare"}\n',
      '1970-01-01T00:00:00.000Z\tinfo\taccess\tconnection complete\tsrc.addr=10.0.0.1:80 src.identity="spiffe://a/ns/b/sa/c" bytes_sent=5 duration="12ms" error="x\\ty\\nz=\\"1\\"" list=["a"]\n',
      "1970-01-01T00:00:00.000Z\tinfo\taccess\tbare\n",
    ]);
  });
  it("are JSON with fixed keys first, and survive whatever a field holds", () => {
    const lines: string[] = [];
    const log = createLogger("test", { write: (l) => lines.push(l), now: () => 0 });
    log.info("hello", { n: 1n, error: new Error("outer", { cause: new Error("inner") }), secret: new Secret("key") });
    assert.equal(lines[0], '{"time":"1970-01-01T00:00:00.000Z","level":"info","scope":"test","msg":"hello","n":"1","error":"outer: inner","secret":"[redacted]"}\n');
  });
  it("name the fields that JSON cannot say, and end circles of causes", () => {
    const lines: string[] = [];
    const log = createLogger("test", { write: (l) => lines.push(l), now: () => 0 });
    const circle: Record<string, unknown> = {};
    circle["self"] = circle;
    log.warn("odd", { circle });
    assert.match(lines[0] ?? "", /"msg":"odd","unserialisable":"circle"}\n$/);
    const error = new Error("again");
    error.cause = error;
    assert.equal(errorText(error).split("again").length, 10);
  });
  it("levels change per scope, are reset, and refuse nonsense whole", () => {
    const levels = new LogLevels("warn");
    assert.equal(levels.set("xds=debug,info"), undefined);
    assert.ok(levels.enabled("xds", "debug") && !levels.enabled("other", "debug") && levels.enabled("other", "info"));
    assert.equal(new LogLevels("info,xds:debug").toString(), "xds=debug,info");
    assert.match(levels.set("xds=loud") ?? "", /unknown log level "loud"/);
    assert.ok(levels.enabled("xds", "debug"));
    assert.equal(levels.set("xds=off,error"), undefined);
    assert.ok(!levels.enabled("xds", "error") && levels.enabled("other", "error"));
    levels.reset();
    assert.equal(levels.toString(), "warn");
  });
  it("an error's code is told once", () => assert.equal(errorText(Object.assign(new Error("connect failed"), { code: "ECONNREFUSED" })), "connect failed (ECONNREFUSED)"));
});

describe("metrics", () => {
  it("are exposed as Prometheus text, named as declared, labels escaped", () => {
    const metrics = new Metrics(() => 0);
    metrics.counter("a", "counts").with({ x: 'q"\n\\' }).inc(2);
    metrics.histogram("h", "times", [1, 5]).with({}).observe(3);
    assert.equal(metrics.expose(), '# HELP a counts\n# TYPE a counter\na{x="q\\"\\n\\\\"} 2\n# HELP h times\n# TYPE h histogram\nh_bucket{le="1"} 0\nh_bucket{le="5"} 1\nh_bucket{le="+Inf"} 1\nh_sum 3\nh_count 1\n');
  });
  it("series that nobody touched expire", () => {
    let now = 0;
    const metrics = new Metrics(() => now);
    const family = metrics.counter("c", "counts");
    family.with({ pod: "old" }).inc();
    now = 10;
    family.with({ pod: "new" }).inc();
    metrics.expire(() => true, 5);
    assert.ok(!metrics.expose().includes("old") && metrics.expose().includes("new"));
  });
});

describe("lifetimes", () => {
  it("a drain waits for every hold, then ends the scope", async () => {
    const scope = new Scope("s", systemClock);
    const first = scope.hold("a");
    const second = scope.hold("b");
    const done = scope.drain(10_000);
    assert.ok(scope.draining.aborted && !scope.signal.aborted);
    first[Symbol.dispose]();
    second[Symbol.dispose]();
    assert.deepEqual(await done, []);
    assert.ok(scope.signal.aborted);
  });
  it("a deadline cuts what is still held and names it", async () => {
    const scope = new Scope("s", systemClock);
    scope.hold("stuck");
    assert.deepEqual(await scope.drain(1), ["stuck"]);
  });
  it("readiness lists what is pending", async () => {
    const readiness = new Readiness();
    const done = [readiness.waitFor("b"), readiness.waitFor("a")];
    assert.deepEqual(readiness.pending, ["a", "b"]);
    const ready = readiness.whenReady();
    for (const d of done) d();
    await ready;
    assert.ok(readiness.ready);
  });
  it("back-off grows, is bounded and repeatable", () => {
    const delays = [0, 1, 2, 10, 1000].map((n) => backoffDelay({ initialMs: 10, maxMs: 100, jitter: 0 }, n, seededRandom(1)));
    assert.deepEqual(delays, [10, 20, 40, 100, 100]);
    assert.ok(backoffDelay({ initialMs: 100, maxMs: 100, jitter: 0.5 }, 0, () => 0.999) <= 100);
  });
});

describe("the admin server", () => {
  const get = (port: number, method: string, path: string): Promise<{ status: number; body: string }> => new Promise((resolve, reject) => {
    request({ host: "127.0.0.1", port, method, path, agent: false }, (res) => {
      let body = "";
      res.on("data", (c: Buffer) => { body += c.toString(); });
      res.on("end", () => resolve({ status: res.statusCode ?? 0, body }));
    }).on("error", reject).end();
  });
  it("answers what is the same everywhere", async () => {
    const readiness = new Readiness();
    const ready = readiness.waitFor("state");
    const levels = new LogLevels();
    const server = await serveHttp("127.0.0.1", 0, { ...commonRoutes({ readiness, metrics: new Metrics(), levels }), "GET /boom": () => { throw new Error("oops"); }, "GET /x": () => text("x") });
    try {
      assert.deepEqual(await get(server.port, "GET", "/healthz/ready"), { status: 500, body: "not ready, pending: state\n" });
      ready();
      assert.equal((await get(server.port, "GET", "/ready")).status, 200);
      assert.deepEqual(await get(server.port, "POST", "/logging?level=debug"), { status: 200, body: "debug\n" });
      assert.equal((await get(server.port, "POST", "/logging?level=loud")).status, 400);
      assert.equal((await get(server.port, "GET", "/logging")).status, 405);
      assert.equal((await get(server.port, "GET", "/nope")).status, 404);
      assert.deepEqual(await get(server.port, "GET", "/boom"), { status: 500, body: "internal error: oops\n" });
      assert.deepEqual(await get(server.port, "GET", "/metrics"), { status: 200, body: "" });
    } finally {
      await server.close();
    }
  });
});
