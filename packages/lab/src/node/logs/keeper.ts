// Owns that a log writer runs: starts one, finds the one that is there after a restart of the kubelet, and replaces one that died.
import { spawn } from "node:child_process";
import { mkdirSync, openSync, readFileSync, writeFileSync, closeSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { livePid } from "../container.ts";

/** A writer we did not start ourselves can only be asked after. */
const CHECK_MS = 2_000;

export function keepLogWriter(requests: string): { close(): void } {
  const state = join(requests, "..", ".log-writer");
  mkdirSync(state, { recursive: true });
  const pidFile = join(state, "pid");
  let closed = false;
  const ensure = () => {
    if (closed || livePid(pidFile) !== undefined) return;
    const out = openSync(join(state, "log"), "a", 0o600);
    try {
      const child = spawn(process.execPath, [fileURLToPath(new URL("./main.ts", import.meta.url)), requests], { detached: true, stdio: ["ignore", out, out], cwd: "/" });
      child.on("exit", ensure);
      child.unref();
      if (child.pid !== undefined) writeFileSync(pidFile, readFileSync(`/proc/${child.pid}/stat`));
    } finally {
      closeSync(out);
    }
  };
  ensure();
  const timer = setInterval(ensure, CHECK_MS);
  timer.unref();
  return { close: () => { closed = true; clearInterval(timer); } };
}
