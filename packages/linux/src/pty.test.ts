import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync } from "node:fs";
import { ReadStream } from "node:tty";
import { openPty } from "./pty.ts";

describe("openPty", () => {
  it("gives a program a terminal of the asked size, and its output", async () => {
    const pty = openPty("/dev/pts/ptmx");
    pty.resize(111, 40);
    const child = spawn("sh", ["-c", "test -t 0 && stty size"], { stdio: [pty.peer, pty.peer, pty.peer] });
    closeSync(pty.peer);
    const terminal = new ReadStream(pty.master);
    let text = "";
    terminal.on("data", (chunk) => { text += String(chunk); });
    // The kernel says EIO when the last holder of the peer is gone.
    terminal.on("error", () => undefined);
    await Promise.all([once(child, "exit"), new Promise((resolve) => terminal.on("close", resolve))]);
    assert.equal(text.trim(), "40 111");
  });

  it("refuses what is no multiplexer", () => {
    assert.throws(() => openPty("/dev/null"), /TIOCSPTLCK/);
    assert.throws(() => openPty("/nowhere/ptmx"), /ENOENT/);
  });
});
