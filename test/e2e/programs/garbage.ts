// Run in a pod: throws bytes that are nobody's protocol at HOST:PORT…, leaves connections half open, and says how it went.
import { connect } from "node:net";

/** Of each kind of nonsense to each target. */
const ROUNDS = 5;
const FLOOD = 300;
/** A peer that takes our bytes and says nothing is left after this. */
const PATIENCE_MS = 1_000;
/** How long the half-open flood stands. */
const STAND_MS = 2_000;

/** The same noise every time (Numerical Recipes' linear congruence). */
let seed = 42;
const bytes = (n: number): Buffer => Buffer.from(Array.from({ length: n }, () => {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return seed >>> 24;
}));
const KINDS: readonly (() => Buffer)[] = [
  () => bytes(1), () => bytes(700), () => bytes(70_000), () => Buffer.alloc(20_000), () => Buffer.from("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), () => Buffer.from(`CONNECT ${"a".repeat(70_000)}:1 HTTP/1.1\r\n`),
  // A TLS record that promises a ClientHello of 16 KB and then is noise; the same with a true length; an alert.
  () => Buffer.concat([Buffer.from([0x16, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc, 3, 3]), bytes(16_373)]), () => Buffer.concat([Buffer.from([0x16, 3, 1, 0, 50, 1, 0, 0, 46]), bytes(46)]), () => Buffer.from([0x15, 3, 3, 0, 2, 2, 40]),
  // HTTP/2 without TLS: the preface and frames of no type, too long, on stream 0.
  () => Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]), bytes(5_000)]), () => Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Buffer.from([0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0])]),
];

function throwAt(host: string, port: number, payload: Buffer): Promise<"closed" | "silent" | "refused"> {
  return new Promise((resolve) => {
    let connected = false;
    const socket = connect({ host, port, noDelay: true }, () => { connected = true; socket.write(payload); });
    socket.on("error", () => undefined).on("close", () => resolve(connected ? "closed" : "refused")).resume();
    setTimeout(() => { resolve(connected ? "silent" : "refused"); socket.destroy(); }, PATIENCE_MS).unref();
  });
}

/** Connections that never say a word. */
async function flood(host: string, port: number): Promise<number> {
  const sockets = Array.from({ length: FLOOD }, () => connect({ host, port }).on("error", () => undefined));
  await new Promise((resolve) => setTimeout(resolve, STAND_MS));
  const open = sockets.filter((s) => s.readyState === "open").length;
  for (const s of sockets) s.destroy();
  return open;
}

const report: Record<string, unknown> = {};
await Promise.all(process.argv.slice(2).map(async (target) => {
  const at = target.lastIndexOf(":");
  const [host, port] = [target.slice(0, at), Number(target.slice(at + 1))];
  const seen = { closed: 0, silent: 0, refused: 0 };
  for (let round = 0; round < ROUNDS; round++) for (const outcome of await Promise.all(KINDS.map((kind) => throwAt(host, port, kind())))) seen[outcome]++;
  report[target] = { ...seen, open: await flood(host, port) };
}));
process.stdout.write(`${JSON.stringify(report)}\n`);
process.exit(0);
