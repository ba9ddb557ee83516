// The load generator, run inside pods: `load.ts serve PORT` in one, `load.ts KIND HOST PORT JSON` in the other.
// A client prints a JSON line {begin} when it is in its stride, works for the time asked, prints {end, …} and waits for the end of
// its stdin, so that whoever measures can look at the processes while all of them still live.
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

const CHUNK = Buffer.alloc(256 * 1024, "0123456789abcdef");
const WARM_UP_MS = 500;
/** A proxy that was just started compiles or caches on its first connections: it gets this many before anything counts, or this long. */
const WARM_UP_CONNECTIONS = 3_000;
const WARM_UP_MAX_MS = 6_000;
/** A probe that hears nothing for this long counts as refused. */
const PROBE_TIMEOUT_MS = 2_000;
const PROBE_EVERY_MS = 5;
/** Connections opened at once while many idle ones are made. */
const OPENING_AT_ONCE = 64;

/** The first byte says what the server does with the rest: S swallow, E echo, C answer one byte and close. */
function serve(port: number): void {
  createServer({ noDelay: true }, (socket) => {
    socket.on("error", () => undefined);
    socket.once("data", (first: Buffer) => {
      const word = String.fromCharCode(first[0] ?? 0);
      // Closing on this side leaves the client no port in TIME_WAIT.
      if (word === "C") return void socket.end("x");
      const rest = first.subarray(1);
      if (word === "S") return void socket.resume();
      if (rest.length > 0) socket.write(rest);
      socket.on("data", (data) => socket.write(data));
    });
  }).listen({ port, backlog: 4096 }, () => say({ listening: port }));
}

const say = (record: Record<string, unknown>): boolean => process.stdout.write(`${JSON.stringify(record)}\n`);
const [kind = "", host = "", portText = "", optionsText = "{}"] = process.argv.slice(2);
const options = JSON.parse(optionsText) as { count?: number; size?: number; seconds?: number };
const count = options.count ?? 1;
const size = options.size ?? 1;
const windowMs = (options.seconds ?? 1) * 1000;
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function open(word: string): Promise<Socket> {
  const socket = connect({ host, port: Number(portText), noDelay: true });
  socket.on("error", (error) => { if (kind !== "probe" && !over) { say({ failed: String(error) }); process.exit(1); } });
  await once(socket, "connect");
  socket.write(word);
  return socket;
}
let over = false;

/** Sorted samples of one window. */
const percentile = (sorted: Float64Array, p: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))] ?? 0;

/** Warm up to at least `warm`, then one window; `read` gives the count so far, `samples` fills from the window's start. */
async function measured(samples: number[] | undefined, read: () => number, warm = 0): Promise<void> {
  const started = performance.now();
  do await pause(WARM_UP_MS); while (read() < warm && performance.now() - started < WARM_UP_MAX_MS);
  if (samples !== undefined) samples.length = 0;
  const [from, begin] = [read(), performance.now()];
  say({ begin: true });
  await pause(windowMs);
  const [to, end] = [read(), performance.now()];
  const sorted = Float64Array.from(samples ?? []).sort();
  say({ end: true, seconds: (end - begin) / 1000, done: to - from, ...(samples === undefined ? {} : { p50_us: percentile(sorted, 0.5), p99_us: percentile(sorted, 0.99) }) });
}

/** `count` streams up as fast as they go; done = bytes. */
async function stream(): Promise<void> {
  const sockets = await Promise.all(Array.from({ length: count }, () => open("S")));
  for (const socket of sockets) {
    const pump = (): void => { while (!over && socket.write(CHUNK)); };
    socket.on("drain", pump);
    pump();
  }
  await measured(undefined, () => sockets.reduce((sum, s) => sum + s.bytesWritten - s.writableLength, 0));
}

/** `count` connections at any time, each: connect, one byte, one byte back, closed; done = connections. */
async function connections(): Promise<void> {
  const samples: number[] = [];
  let done = 0;
  const one = (): void => {
    const begin = performance.now();
    const socket = connect({ host, port: Number(portText), noDelay: true }, () => socket.write("C"));
    let answered = false;
    socket.on("data", () => { answered = true; });
    socket.on("error", (error) => { if (!over) { say({ failed: String(error) }); process.exit(1); } });
    socket.on("close", () => {
      if (over) return;
      if (!answered) { say({ failed: "closed without an answer" }); process.exit(1); }
      done++;
      samples.push((performance.now() - begin) * 1000);
      one();
    });
  };
  for (let i = 0; i < count; i++) one();
  await measured(samples, () => done, WARM_UP_CONNECTIONS);
}

/** `count` connections, each sending `size` bytes and waiting for them; done = round trips. */
async function ping(): Promise<void> {
  const message = Buffer.alloc(size, "p");
  const samples: number[] = [];
  let done = 0;
  const sockets = await Promise.all(Array.from({ length: count }, () => open("E")));
  for (const socket of sockets) {
    let [missing, begin] = [size, performance.now()];
    socket.on("data", (data: Buffer) => {
      missing -= data.length;
      if (missing > 0 || over) return;
      done++;
      samples.push((performance.now() - begin) * 1000);
      [missing, begin] = [size, performance.now()];
      socket.write(message);
    });
    socket.write(message);
  }
  await measured(samples, () => done);
}

/** `count` connections that have each carried one byte both ways and now rest. */
async function idle(): Promise<void> {
  const begin = performance.now();
  for (let left = count; left > 0; left -= OPENING_AT_ONCE) {
    await Promise.all(Array.from({ length: Math.min(left, OPENING_AT_ONCE) }, async () => {
      const socket = await open("E");
      socket.write("i");
      await once(socket, "data");
    }));
  }
  say({ begin: true });
  say({ end: true, seconds: (performance.now() - begin) / 1000, done: count });
}

/** Says every change of: a new connection is served or not, the held connection is open or not; with the time of day. */
async function probe(): Promise<void> {
  let served: boolean | undefined;
  let held: Socket | undefined;
  const attempt = (): Promise<Socket | undefined> => new Promise((resolve) => {
    const socket = connect({ host, port: Number(portText), noDelay: true }, () => socket.write("Ex"));
    socket.setTimeout(PROBE_TIMEOUT_MS, () => socket.destroy());
    socket.on("error", () => undefined);
    socket.once("data", () => { socket.setTimeout(0); resolve(socket); });
    socket.once("close", () => resolve(undefined));
  });
  while (!over) {
    const socket = await attempt();
    const now = Date.now();
    if ((socket !== undefined) !== served) say({ served: served = socket !== undefined, t: now });
    if (socket !== undefined && held === undefined) {
      held = socket;
      say({ held: true, t: now });
      socket.once("close", () => { held = undefined; say({ held: false, t: Date.now() }); });
    } else socket?.destroy();
    await pause(PROBE_EVERY_MS);
  }
}

const KINDS: Readonly<Record<string, () => Promise<void>>> = { stream, connections, ping, idle, probe };
if (kind === "serve") serve(Number(host));
else {
  const run = KINDS[kind];
  if (run === undefined) throw new Error(`unknown load "${kind}"`);
  process.stdin.resume().on("end", () => { over = true; process.exit(0); });
  await run();
}
