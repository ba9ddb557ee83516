// A program for pods: a TCP server that behaves as its first line says, and a client that checks what a plain socket would do.
// Usage: streams.ts serve PORT | streams.ts check HOST PORT NAME [NUMBER]
// The client prints one JSON line {ok, …facts} and exits 0 or 1.
import { createHash } from "node:crypto";
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

const CHUNK = Buffer.alloc(64 * 1024, "0123456789abcdef");
const reports = new Map<string, Record<string, unknown>>();

/** First line: WORD ID [NUMBER]. */
function serve(port: number): void {
  createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    let head = "";
    socket.on("error", () => undefined);
    const onHead = (chunk: Buffer) => {
      head += chunk.toString("latin1");
      const end = head.indexOf("\n");
      if (end < 0) return;
      socket.off("data", onHead);
      const [word = "", id = "", number = "0"] = head.slice(0, end).split(" ");
      const rest = Buffer.from(head.slice(end + 1), "latin1");
      socket.pause();
      if (rest.length > 0) socket.unshift(rest);
      void behave(socket, word, id, Number(number));
    };
    socket.on("data", onHead);
  }).listen(port, () => console.log(JSON.stringify({ listening: port })));
}

async function behave(socket: Socket, word: string, id: string, number: number): Promise<void> {
  const report: Record<string, unknown> = { bytes: 0 };
  if (word !== "REPORT") reports.set(id, report);
  socket.on("error", (e) => { report["error"] = (e as { code?: string }).code; });
  socket.on("close", () => { report["closed"] = true; });
  const count = () => {
    const hash = createHash("sha256");
    socket.on("data", (d: Buffer) => { report["bytes"] = (report["bytes"] as number) + d.length; hash.update(d); });
    socket.on("end", () => { report["ended"] = true; report["sha256"] = hash.digest("hex"); });
    socket.resume();
  };
  switch (word) {
    case "ECHO": socket.pipe(socket); return;
    case "SINK": count(); socket.on("end", () => socket.end(`${String(report["bytes"])} ${String(report["sha256"])}`)); return;
    case "SOURCE": socket.resume(); await pump(socket, number); socket.end(); return;
    // Ends its own direction at once and goes on reading.
    case "HALF": socket.end("bye"); count(); return;
    case "RESET": socket.resetAndDestroy(); return;
    case "SLOW": setTimeout(() => { count(); socket.on("end", () => socket.end(String(report["bytes"]))); }, number); return;
    case "REPORT": socket.end(JSON.stringify(reports.get(id) ?? {})); return;
    default: socket.destroy();
  }
}

async function pump(socket: Socket, total: number): Promise<string> {
  const hash = createHash("sha256");
  for (let sent = 0; sent < total; sent += CHUNK.length) {
    const part = total - sent < CHUNK.length ? CHUNK.subarray(0, total - sent) : CHUNK;
    hash.update(part);
    if (!socket.write(part)) await once(socket, "drain");
  }
  return hash.digest("hex");
}

const [mode, hostOrPort = "", portText = "", name = "", numberText = "0"] = process.argv.slice(2);

function open(): Promise<Socket> {
  const socket = connect({ host: hostOrPort, port: Number(portText), allowHalfOpen: true, noDelay: true });
  return once(socket, "connect").then(() => socket);
}
async function readAll(socket: Socket): Promise<{ text: string; error: string | undefined }> {
  let text = "";
  let error: string | undefined;
  socket.on("data", (d: Buffer) => { text += d.toString("latin1"); });
  socket.on("error", (e) => { error = (e as { code?: string }).code ?? e.message; });
  await new Promise<void>((resolve) => { socket.once("end", resolve); socket.once("close", () => resolve()); });
  return { text, error };
}
async function reportOf(id: string): Promise<Record<string, unknown>> {
  const socket = await open();
  socket.write(`REPORT ${id}\n`);
  return JSON.parse((await readAll(socket)).text) as Record<string, unknown>;
}
const CHECKS: Readonly<Record<string, (n: number) => Promise<Record<string, unknown> & { ok: boolean }>>> = {
  /** n bytes up, hash back after our half-close. */
  async sink(n) {
    const socket = await open();
    socket.write("SINK s\n");
    const answer = readAll(socket);
    const sent = await pump(socket, n);
    socket.end();
    const { text, error } = await answer;
    return { ok: text === `${n} ${sent}` && error === undefined, error, got: text };
  },
  /** n bytes down, and the end after them. */
  async source(n) {
    const socket = await open();
    socket.write(`SOURCE s ${n}\n`);
    let got = 0;
    const begin = performance.now();
    socket.on("data", (d: Buffer) => { got += d.length; });
    await once(socket, "end");
    socket.end();
    return { ok: got === n, got, seconds: (performance.now() - begin) / 1000 };
  },
  /** Everything echoed, each way half-closed in turn. */
  async echo(n) {
    const socket = await open();
    socket.write("ECHO e\n");
    const hash = createHash("sha256");
    let got = 0;
    socket.on("data", (d: Buffer) => { got += d.length; hash.update(d); });
    const ended = once(socket, "end");
    const sent = await pump(socket, n);
    socket.end();
    await ended;
    return { ok: got === n && hash.digest("hex") === sent, got };
  },
  /** The server ends first; what we send afterwards still arrives. */
  async half() {
    const socket = await open();
    socket.write("HALF half\n");
    const { text } = await readAll(socket);
    await pump(socket, 1_000_000);
    socket.end();
    await once(socket, "close");
    // Its end travels behind ours: ask until it is there.
    for (let i = 0; i < 50; i++) {
      const report = await reportOf("half");
      if (report["ended"] === true) return { ok: text === "bye" && report["bytes"] === 1_000_000, text, report };
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return { ok: false, text };
  },
  async reset() {
    const socket = await open();
    socket.write("RESET r\n");
    const { error } = await readAll(socket);
    return { ok: error === "ECONNRESET", error };
  },
  /** A reader that does not read for n ms: we must be stopped, and lose nothing. */
  async slow(n) {
    const socket = await open();
    socket.write(`SLOW slow ${n}\n`);
    const answer = readAll(socket);
    const begin = performance.now();
    let accepted = 0;
    while (performance.now() - begin < n / 2) {
      if (!socket.write(CHUNK)) await Promise.race([once(socket, "drain"), new Promise((resolve) => setTimeout(resolve, n / 2))]);
      accepted += CHUNK.length;
    }
    const stalledAt = accepted - socket.writableLength;
    socket.end();
    const { text } = await answer;
    return { ok: text === String(accepted), accepted, stalledAt, got: text };
  },
  /** n connections open at once, each answered while all are open. */
  async many(n) {
    const sockets = await Promise.all(Array.from({ length: n }, open));
    const answers = await Promise.all(sockets.map(async (socket, i) => {
      socket.write(`ECHO m\n${i}`);
      const [data] = (await once(socket, "data")) as [Buffer];
      return data.toString() === String(i);
    }));
    for (const socket of sockets) socket.end();
    await Promise.all(sockets.map((s) => { s.resume(); return once(s, "close"); }));
    return { ok: answers.every(Boolean), opened: sockets.length };
  },
};

if (mode === "serve") serve(Number(hostOrPort));
else {
  const check = CHECKS[name];
  if (check === undefined) throw new Error(`unknown check "${name}"`);
  const result = await check(Number(numberText)).catch((e: unknown) => ({ ok: false, error: String(e) }));
  console.log(JSON.stringify({ check: name, ...result }));
  process.exitCode = result.ok ? 0 : 1;
}
