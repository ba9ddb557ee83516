// Owns single executables: a copy of Node that carries one bundled script (Node's "single executable applications").
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** What Node looks for in itself: the note's name, and the switch that says it is there. */
const NOTE_NAME = "NODE_SEA_BLOB";
const SWITCH = "NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2:";
const PT_LOAD = 1;
const PT_NOTE = 4;
const PT_PHDR = 6;
const ELF_HEADER_BYTES = 64;
const ENTRY_BYTES = 56;
const READ = 4;
/** Pages of any kernel for these machines: arm64 has some of 64 KiB. */
const PAGE_BYTES = 0x10000;

/** `script` is CommonJS and brings everything but Node's own modules; `node` may be of another architecture, if it is of the same version. */
export function singleExecutable(node: Buffer, script: Uint8Array): Buffer {
  const dir = mkdtempSync(join(tmpdir(), "ambit-executable-"));
  try {
    // Relative names: the blob keeps that of the script.
    writeFileSync(join(dir, "plugin.cjs"), script);
    writeFileSync(join(dir, "config.json"), JSON.stringify({ main: "plugin.cjs", output: "blob", disableExperimentalSEAWarning: true, useSnapshot: false, useCodeCache: false, execArgvExtension: "none" }));
    execFileSync(process.execPath, ["--experimental-sea-config", "config.json"], { cwd: dir, stdio: ["ignore", "ignore", "pipe"], env: {} });
    return withNote(node, readFileSync(join(dir, "blob")));
  } finally {
    rmSync(dir, { recursive: true });
  }
}

interface Segment { readonly type: number; readonly flags: number; readonly offset: number; readonly address: number; readonly fileBytes: number; readonly memoryBytes: number; readonly align: number }

/**
 * Adds the note in a segment of its own behind all others. The table of segments stays where and as large as it is: the new segment takes the entry that
 * describes the table itself, which only position-independent programs need, and the new note follows the old ones in their entry. What lies behind the
 * loaded segments (symbols for debuggers) is left out. Throws where the file is not shaped like that.
 */
export function withNote(node: Buffer, blob: Buffer): Buffer {
  const [fixed, table, count] = [node.readUInt16LE(16) === 2, Number(node.readBigUInt64LE(32)), node.readUInt16LE(56)];
  const segments = Array.from({ length: count }, (_, i) => segmentAt(node, table + i * ENTRY_BYTES));
  const note = segments.find((s) => s.type === PT_NOTE);
  const at = node.indexOf(`${SWITCH}0`);
  if (!fixed || note === undefined || !segments.some((s) => s.type === PT_PHDR) || at < 0 || node.indexOf(`${SWITCH}0`, at + 1) >= 0) throw new Error("this Node is not shaped like one that can carry a script");
  const notes = Buffer.concat([node.subarray(note.offset, note.offset + note.fileBytes), encodeNote(blob)]);
  const loaded = segments.filter((s) => s.type === PT_LOAD);
  const up = (value: number): number => Math.ceil(value / PAGE_BYTES) * PAGE_BYTES;
  const end = Math.max(...loaded.map((s) => s.offset + s.fileBytes));
  const added: Segment = { type: PT_LOAD, flags: READ, offset: up(end), address: up(Math.max(...loaded.map((s) => s.address + s.memoryBytes))), fileBytes: notes.length, memoryBytes: notes.length, align: PAGE_BYTES };
  const last = loaded.at(-1);
  const next = segments.flatMap((s): Segment[] => (s.type === PT_PHDR ? [] : s === note ? [{ ...added, type: PT_NOTE, align: 4 }] : s === last ? [s, added] : [s]));
  const out = Buffer.alloc(added.offset + notes.length);
  node.copy(out, 0, 0, end);
  next.forEach((s, i) => writeSegment(out, table + i * ENTRY_BYTES, s));
  notes.copy(out, added.offset);
  out.write(`${SWITCH}1`, at, "latin1");
  // No table of sections any more.
  out.writeBigUInt64LE(0n, 40);
  out.fill(0, 58, ELF_HEADER_BYTES);
  return out;
}

function encodeNote(blob: Buffer): Buffer {
  const name = Buffer.from(`${NOTE_NAME}\0`);
  const pad = (b: Buffer) => Buffer.concat([b, Buffer.alloc((4 - (b.length % 4)) % 4)]);
  const head = Buffer.alloc(12);
  head.writeUInt32LE(name.length, 0);
  head.writeUInt32LE(blob.length, 4);
  return Buffer.concat([head, pad(name), pad(blob)]);
}

function segmentAt(b: Buffer, at: number): Segment {
  const word = (offset: number): number => Number(b.readBigUInt64LE(at + offset));
  return { type: b.readUInt32LE(at), flags: b.readUInt32LE(at + 4), offset: word(8), address: word(16), fileBytes: word(32), memoryBytes: word(40), align: word(48) };
}

function writeSegment(b: Buffer, at: number, s: Segment): void {
  b.writeUInt32LE(s.type, at);
  b.writeUInt32LE(s.flags, at + 4);
  [s.offset, s.address, s.address, s.fileBytes, s.memoryBytes, s.align].forEach((value, i) => void b.writeBigUInt64LE(BigInt(value), at + 8 + 8 * i));
}
