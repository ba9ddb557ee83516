// Owns the write-ahead log: one JSON line per committed change, appended before it is acknowledged.
import { closeSync, existsSync, fsyncSync, ftruncateSync, mkdirSync, openSync, readSync, renameSync, writeSync } from "node:fs";
import { dirname, join } from "node:path";
import { isObject, type JsonObject } from "../json.ts";

/** A rewrite is due when the log has grown by this much beyond what it held after the last rewrite. */
const COMPACT_GROWTH_BYTES = 32 * 1024 * 1024;
/** Read and rewrite unit: bounds memory next to the objects themselves. */
const CHUNK_BYTES = 1024 * 1024;
const NEWLINE = 10;

/** A change as stored: bucket and key of the object, its new state or null when it was removed. */
export interface LogRecord {
  readonly rv: number;
  readonly bucket: string;
  readonly key: string;
  readonly object: JsonObject | null;
}

/** Appending survives the death of this process (the kernel has the bytes), a rewrite also that of the machine. */
export interface ChangeLog {
  append(record: LogRecord): void;
  /** True when enough has been appended that a rewrite pays. */
  due(): boolean;
  rewrite(rv: number, records: Iterable<LogRecord>): void;
  close(): void;
}

/** Keeps nothing: for servers that live as long as their test. */
export const forgetfulLog: ChangeLog = {
  append: () => undefined,
  due: () => false,
  rewrite: () => undefined,
  close: () => undefined,
};

interface OpenedLog {
  readonly log: ChangeLog;
  /** Bytes of an unfinished last line that were cut off. */
  readonly tornBytes: number;
}

/**
 * Opens `dir/store.jsonl`, hands every record to `replay` in order and truncates a torn last line.
 * Throws, naming the line, when a line before the last is unreadable: guessing would lose objects silently.
 */
export function openLog(dir: string, replay: (record: LogRecord) => void): OpenedLog {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const path = join(dir, "store.jsonl");
  let fd = openSync(path, existsSync(path) ? "r+" : "w+", 0o600);
  const read = readLines(fd, path, replay);
  if (read.tornBytes > 0) ftruncateSync(fd, read.size);
  let size = read.size;
  let base = 0;

  const log: ChangeLog = {
    append(record) {
      const line = encode(record);
      try {
        writeAll(fd, line, size);
      } catch (cause) {
        ftruncateSync(fd, size);
        throw new Error(`cannot append to ${path}`, { cause });
      }
      size += line.length;
    },
    due: () => size - base > COMPACT_GROWTH_BYTES,
    rewrite(rv, records) {
      const next = `${path}.new`;
      const out = openSync(next, "w+", 0o600);
      let written = 0;
      let held: Buffer[] = [encode({ rv, bucket: "", key: "", object: null })];
      let heldBytes = 0;
      const flush = () => {
        const bytes = Buffer.concat(held);
        writeAll(out, bytes, written);
        written += bytes.length;
        held = [];
        heldBytes = 0;
      };
      try {
        for (const record of records) {
          const line = encode(record);
          held.push(line);
          heldBytes += line.length;
          if (heldBytes > CHUNK_BYTES) flush();
        }
        flush();
        fsyncSync(out);
        renameSync(next, path);
      } catch (cause) {
        closeSync(out);
        throw new Error(`cannot rewrite ${path}`, { cause });
      }
      syncFolder(dirname(path));
      closeSync(fd);
      fd = out;
      size = written;
      base = written;
    },
    close() {
      fsyncSync(fd);
      closeSync(fd);
    },
  };
  return { log, tornBytes: read.tornBytes };
}

function encode(record: LogRecord): Buffer {
  return Buffer.from(`${JSON.stringify([record.rv, record.bucket, record.key, record.object])}\n`);
}

function writeAll(fd: number, bytes: Buffer, position: number): void {
  let done = 0;
  while (done < bytes.length) done += writeSync(fd, bytes, done, bytes.length - done, position + done);
}

function syncFolder(dir: string): void {
  const fd = openSync(dir, "r");
  fsyncSync(fd);
  closeSync(fd);
}

function readLines(fd: number, path: string, replay: (record: LogRecord) => void): { size: number; tornBytes: number } {
  let rest: Buffer = Buffer.alloc(0);
  let position = 0;
  let good = 0;
  let line = 0;
  const chunk = Buffer.alloc(CHUNK_BYTES);
  for (;;) {
    const got = readSync(fd, chunk, 0, CHUNK_BYTES, position);
    if (got === 0) break;
    position += got;
    rest = Buffer.concat([rest, chunk.subarray(0, got)]);
    let start = 0;
    for (let end = rest.indexOf(NEWLINE); end >= 0; end = rest.indexOf(NEWLINE, start)) {
      line += 1;
      replay(decode(rest.toString("utf8", start, end), `${path}:${line}`));
      good += end + 1 - start;
      start = end + 1;
    }
    rest = rest.subarray(start);
  }
  return { size: good, tornBytes: position - good };
}

function decode(text: string, where: string): LogRecord {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Error(`${where}: not a JSON line; the log is damaged before its end`);
  }
  if (!Array.isArray(value) || value.length !== 4) throw new Error(`${where}: not a change record`);
  const [rv, bucket, key, object] = value as unknown[];
  const fits = typeof rv === "number" && typeof bucket === "string" && typeof key === "string";
  if (!fits || (object !== null && !isObject(object))) throw new Error(`${where}: not a change record`);
  return { rv, bucket, key, object };
}
