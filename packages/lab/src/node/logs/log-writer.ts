// Owns turning containers' output into CRI log files: one request file a container, kept until its output has ended.
import { closeSync, constants, existsSync, fstatSync, mkdirSync, openSync, readdirSync, readFileSync, renameSync, rmSync, watch, writeFileSync, writeSync } from "node:fs";
import { Socket } from "node:net";
import { dirname, join } from "node:path";
import { LogSplitter, type LogStream } from "../plan/cri-log.ts";

export interface LogRequest { readonly stdout: string; readonly stderr: string; readonly file: string }

/** As the kubelet's defaults, with one old file kept: 20 MiB a container at most. */
export const LOG_FILE_MAX_BYTES = 10 * 1024 * 1024;

/** Serves until the process ends. Requests that are there already are taken up again. */
export function serveLogRequests(dir: string): { close(): void } {
  const active = new Map<string, { close(): void }>();
  const scan = () => {
    for (const name of readdirSync(dir)) {
      if (!name.endsWith(".json") || active.has(name)) continue;
      let request: LogRequest;
      try {
        request = JSON.parse(readFileSync(join(dir, name), "utf8")) as LogRequest;
      } catch {
        continue; // removed between the two calls
      }
      const done = () => { active.delete(name); rmSync(join(dir, name), { force: true }); };
      try {
        active.set(name, follow(request, done));
      } catch {
        done(); // the container's folder is gone: there is nothing left to read
      }
    }
  };
  const watcher = watch(dir, scan);
  scan();
  return { close: () => { watcher.close(); for (const a of active.values()) a.close(); } };
}

function follow(request: LogRequest, done: () => void): { close(): void } {
  const log = new LogFile(request.file);
  let open = 2;
  const sockets = ([["stdout", request.stdout], ["stderr", request.stderr]] as [LogStream, string][]).map(([stream, path]) => {
    const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const splitter = new LogSplitter(stream);
    const socket = new Socket({ fd, readable: true, writable: false });
    socket.on("data", (bytes) => { for (const entry of splitter.push(bytes, timestamp())) log.write(entry); });
    socket.on("error", () => undefined); // a broken pipe ends it: "close" follows
    socket.on("close", () => {
      for (const entry of splitter.end(timestamp())) log.write(entry);
      if (--open > 0) return;
      log.close();
      done();
    });
    return socket;
  });
  writeFileSync(join(dirname(request.stdout), "logging"), "");
  return { close: () => { for (const s of sockets) s.destroy(); } };
}

/** RFC 3339 with as many digits as we have: milliseconds and a counter that keeps the order. */
let lastMs = 0;
let order = 0;
function timestamp(): string {
  const now = Date.now();
  order = now === lastMs ? Math.min(order + 1, 999_999) : 0;
  lastMs = now;
  return `${new Date(now).toISOString().slice(0, 23)}${String(order).padStart(6, "0")}Z`;
}

class LogFile {
  readonly #path: string;
  #fd: number;
  #size: number;

  constructor(path: string) {
    mkdirSync(dirname(path), { recursive: true });
    this.#path = path;
    this.#fd = openSync(path, "a", 0o640);
    this.#size = fstatSync(this.#fd).size;
  }

  write(entry: Uint8Array): void {
    if (this.#size > 0 && this.#size + entry.length > LOG_FILE_MAX_BYTES) this.#rotate();
    try {
      writeSync(this.#fd, entry);
      this.#size += entry.length;
    } catch (error) {
      // A full disk loses lines, never the container.
      if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
    }
  }

  close(): void {
    closeSync(this.#fd);
  }

  #rotate(): void {
    closeSync(this.#fd);
    if (existsSync(this.#path)) renameSync(this.#path, `${this.#path}.1`);
    mkdirSync(dirname(this.#path), { recursive: true });
    this.#fd = openSync(this.#path, "a", 0o640);
    this.#size = 0;
  }
}
