import assert from "node:assert/strict";
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { closeSync, constants, createReadStream, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { lossLine, WAITING_MAX } from "./line-sink.ts";
import { streamSink } from "./log-sink.ts";
import { PipeSink } from "./pipe-sink.ts";

const LINE = `${"x".repeat(999)}\n`;
/** More lines than may wait. */
const ABOVE = Math.ceil(WAITING_MAX / LINE.length) + 1_000;

describe("a pipe that nobody reads", () => {
  function rig() {
    let room = 0;
    let text = "";
    let gone = false;
    const sink = new PipeSink((bytes) => {
      if (gone) throw Object.assign(new Error("EPIPE"), { code: "EPIPE" });
      if (room === 0) throw Object.assign(new Error("EAGAIN"), { code: "EAGAIN" });
      const taken = Math.min(room, bytes.length);
      room -= taken;
      text += Buffer.from(bytes.subarray(0, taken)).toString();
      return taken;
    });
    return { sink, give: (octets: number) => { room += octets; }, leave: () => { gone = true; }, text: () => text };
  }

  it("keeps lines in order, so many, and says once how many went after them", async () => {
    const { sink, give, text } = rig();
    give(3);
    for (let i = 0; i < ABOVE; i++) sink.write(Buffer.from(`${i} ${LINE}`));
    give(Infinity);
    while (!text().endsWith("wait\"}\n")) await new Promise(setImmediate);
    sink.write(Buffer.from("and on\n"));
    const lines = text().split("\n");
    const lost = JSON.parse(lines.at(-3) ?? "") as { lines: number };
    const kept = lines.slice(0, -3);
    assert.ok(kept.join("\n").length > WAITING_MAX - 2 * LINE.length, `${kept.length}`);
    assert.equal(kept.findIndex((l, i) => Number.parseInt(l, 10) !== i), -1, "in order");
    assert.equal(kept.length + lost.lines, ABOVE);
    assert.equal(lines.at(-2), "and on");
  });
  it("at exit what waits is written, or given up after a second", () => {
    const { sink, give, text } = rig();
    sink.write(Buffer.from("one\n"));
    const began = performance.now();
    sink.finish();
    assert.ok(performance.now() - began < 5_000);
    give(100);
    sink.finish();
    assert.equal(text(), "one\n");
  });
  it("and a reader that went away is not waited for", () => {
    const { sink, give, leave, text } = rig();
    sink.write(Buffer.from("one\n"));
    leave();
    sink.finish();
    give(100);
    assert.equal(text(), "");
  });
});

describe("a stream whose reader is slow", () => {
  it("has a bound, and says how many lines went", async () => {
    const stream = new PassThrough({ highWaterMark: 1 });
    const sink = streamSink(stream);
    for (let i = 0; i < ABOVE; i++) sink.write(Buffer.from(LINE));
    let text = "";
    stream.setEncoding("utf8").on("data", (part: string) => { text += part; });
    while (!text.endsWith("}\n")) await new Promise(setImmediate);
    const kept = text.split(LINE).length - 1;
    assert.equal(text.slice(kept * LINE.length), lossLine(ABOVE - kept, "stdout is not read"));
    sink.write(Buffer.from("and on\n"));
    await new Promise(setImmediate);
    assert.match(text, /and on\n$/);
  });
});

/** Logs 8 MB in lines of 1 KB, some in each turn; on stderr it says that it goes on. The end is orderly, and at once. */
const LOGGING = `
  import { createLogger } from ${JSON.stringify(join(import.meta.dirname, "log.ts"))};
  const log = createLogger("x");
  let n = 0;
  const turn = () => {
    for (let i = 0; i < 20; i++) log.info("a line", { n: n++, filler: "x".repeat(900) });
    if (n < 8_000) return setTimeout(turn, 0);
    process.stderr.write("went on");
  };
  process.on("message", () => { log.info("the last"); process.exit(0); });
  turn();`;

describe("a process whose stdout is a pipe that is not read for a while", function () {
  this.timeout(20_000);
  let dir: string;
  before(() => { dir = mkdtempSync(join(tmpdir(), "ambit-pipe-")); assert.equal(spawnSync("sh", ["-c", `mkfifo ${join(dir, "pipe")}`]).status, 0); });
  after(() => rmSync(dir, { recursive: true }));

  it("goes on, loses the newest lines, says how many, and its last lines are not lost", async () => {
    // Both ends open without waiting for each other; the writing end blocks, as a runtime's does.
    const reading = openSync(join(dir, "pipe"), constants.O_RDONLY | constants.O_NONBLOCK);
    const writing = openSync(join(dir, "pipe"), "w");
    let child: ChildProcess | undefined;
    try {
      child = spawn(process.execPath, ["--input-type=module", "-e", LOGGING], { stdio: ["ignore", writing, "pipe", "ipc"] });
      closeSync(writing);
      const exited = once(child, "exit");
      assert.equal(String((await once(child.stderr ?? assert.fail(), "data"))[0]), "went on");
      const blocking = openSync(join(dir, "pipe"), "r");
      closeSync(reading);
      const lines: { n?: number; msg: string; lines?: number }[] = [];
      let rest = "";
      const ended = once(createReadStream("", { fd: blocking, encoding: "utf8" }).on("data", (text) => {
        const parts = (rest + String(text)).split("\n");
        rest = parts.pop() ?? "";
        lines.push(...parts.map((line) => JSON.parse(line) as (typeof lines)[number]));
        if (lines.at(-1)?.msg === "log lines were lost") child?.send("end");
      }), "close");
      assert.deepEqual(await exited, [0, null]);
      await ended;
      const [loss, last] = lines.slice(-2);
      assert.equal(lines.slice(0, -2).findIndex((l, i) => l.n !== i), -1, "in order, without a gap");
      assert.deepEqual([loss?.msg, (loss?.lines ?? 0) + lines.length - 2, last?.msg], ["log lines were lost", 8_000, "the last"]);
    } finally {
      if (child?.exitCode === null && child.kill("SIGKILL")) await once(child, "exit");
    }
  });
});
