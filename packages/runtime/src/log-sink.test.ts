import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { join } from "node:path";
import { lossySink } from "./log-sink.ts";

const LOGGING = `
  import { createLogger } from ${JSON.stringify(join(import.meta.dirname, "log.ts"))};
  const log = createLogger("x");
  let turns = 0;
  const turn = () => { log.info("a line", { turns }); if (++turns < 50) setTimeout(turn, 2); else process.stderr.write("went on"); };
  process.once("message", turn);`;

describe("stdout that takes nothing", () => {
  async function endOf(stdout: number | "pipe"): Promise<string> {
    const child = spawn(process.execPath, ["--input-type=module", "-e", LOGGING], { stdio: ["ignore", stdout, "pipe", "ipc"] });
    child.stdout?.destroy();
    let said = "";
    child.stderr?.setEncoding("utf8").on("data", (text: string) => { said += text; });
    child.send("go");
    const [code] = (await once(child, "close")) as [number];
    return `${code} ${said}`;
  }

  it("a full disk costs lines, not the process", async () => {
    const full = openSync("/dev/full", "w");
    try {
      assert.equal(await endOf(full), "0 went on");
    } finally {
      closeSync(full);
    }
  });
  it("nor does a reader that went away", async () => assert.equal(await endOf("pipe"), "0 went on"));
});

describe("a sink that loses lines", () => {
  it("says how many, and why, once it can write again", () => {
    let text = "";
    let room = 4;
    const sink = lossySink((bytes) => {
      if (room === 0) throw new Error("ENOSPC: no space left");
      const taken = Math.min(room, bytes.length);
      room -= taken;
      text += Buffer.from(bytes.subarray(0, taken)).toString();
      return taken;
    });
    sink(Buffer.from("one\n"));
    sink(Buffer.from("two\nthree\n"));
    sink(Buffer.from("four\n"));
    room = 1_000;
    sink(Buffer.from("five\n"));
    sink(Buffer.from("six\n"));
    assert.equal(text, `one\n{"level":"warn","scope":"log","msg":"log lines were lost","lines":3,"error":"ENOSPC: no space left"}\nfive\nsix\n`);
  });
});
