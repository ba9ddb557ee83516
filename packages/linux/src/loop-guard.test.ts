import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { HELD_EXIT_CODE } from "./loop-guard.ts";

const LIMIT_MS = 400;
/** How a child's loop is held, `for` so long. */
const CHILD = `
  import { guardLoop } from ${JSON.stringify(join(import.meta.dirname, "loop-guard.ts"))};
  const guard = guardLoop(${LIMIT_MS});
  const beat = () => guard.beat("nothing runs");
  beat();
  setInterval(beat, 50);
  process.on("message", ({ hold, ms }) => {
    guard.say("it spins");
    const began = performance.now();
    const cpu = process.threadCpuUsage();
    const used = () => { const { user, system } = process.threadCpuUsage(cpu); return (user + system) / 1000; };
    if (hold === "spin") while (used() < ms) ;
    if (hold === "sleep") Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
    process.send({ tookMs: performance.now() - began });
  });
  process.send("ready");`;

describe("a loop that does not come round", function () {
  this.timeout(20_000);
  let child: ChildProcess;
  let said: string;
  beforeEach(async () => {
    said = "";
    child = spawn(process.execPath, ["--input-type=module", "-e", CHILD], { stdio: ["ignore", "pipe", "inherit", "ipc"] });
    child.stdout?.setEncoding("utf8").on("data", (text: string) => { said += text; });
    await once(child, "message");
  });
  afterEach(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    child.kill("SIGKILL");
    await exited;
  });
  const hold = (how: "spin" | "sleep" | "not", ms: number): void => void child.send({ hold: how, ms });
  const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
  const tookMs = (): Promise<number> => new Promise((resolve, reject) => {
    child.once("message", (m: { tookMs: number }) => resolve(m.tookMs));
    child.once("exit", (code) => reject(new Error(`ended with ${code}`)));
  });

  it("ends the process with a code of its own, and the words that it had last", async () => {
    const closed = once(child, "close");
    hold("spin", 60_000);
    assert.deepEqual(await closed, [HELD_EXIT_CODE, null]);
    assert.equal(said, "it spins\n");
  });
  it("in time is left alone, again and again", async () => {
    for (let i = 0; i < 4; i++) {
      hold("spin", LIMIT_MS / 2);
      await tookMs();
    }
    assert.equal(said, "");
  });
  it("because the process was stopped is left alone", async () => {
    child.kill("SIGSTOP");
    await pause(LIMIT_MS * 2);
    child.kill("SIGCONT");
    hold("not", 0);
    await tookMs();
    assert.equal(said, "");
  });
  it("because it hardly gets the processor is left alone", async () => {
    hold("spin", LIMIT_MS / 2);
    const over = tookMs();
    let starving = true;
    over.catch(() => undefined).finally(() => { starving = false; });
    while (starving) {
      child.kill("SIGSTOP");
      await pause(60);
      child.kill("SIGCONT");
      await pause(5);
    }
    assert.ok((await over) > 2 * LIMIT_MS, `${await over} ms`);
    hold("not", 0);
    await tookMs();
    assert.equal(said, "");
  });
  it("because it sleeps in a system call is left alone", async () => {
    hold("sleep", LIMIT_MS * 2);
    await tookMs();
    assert.equal(said, "");
  });
});
