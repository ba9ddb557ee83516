// Owns reading of ELF files: which machine they are for, and which libraries their loader will want.

export interface ElfFile {
  readonly machine: "x86-64" | "aarch64" | "other";
  /** The loader, e.g. /lib64/ld-linux-x86-64.so.2; absent in a library. */
  readonly interpreter: string | undefined;
  /** DT_NEEDED: names, not paths. */
  readonly needed: readonly string[];
}

const PT_LOAD = 1;
const PT_DYNAMIC = 2;
const PT_INTERP = 3;
const DT_NEEDED = 1n;
const DT_STRTAB = 5n;
const MACHINES: Readonly<Record<number, ElfFile["machine"]>> = { 62: "x86-64", 183: "aarch64" };

interface Segment { readonly type: number; readonly offset: number; readonly address: number; readonly size: number }

/** undefined: not a 64-bit little-endian ELF file. Throws RangeError where it is a damaged one. */
export function readElf(bytes: Buffer): ElfFile | undefined {
  if (bytes.length < 64 || bytes.readUInt32BE(0) !== 0x7f454c46 || bytes[4] !== 2 || bytes[5] !== 1) return undefined;
  const machine = MACHINES[bytes.readUInt16LE(18)] ?? "other";
  const table = Number(bytes.readBigUInt64LE(32));
  const entrySize = bytes.readUInt16LE(54);
  const segments = Array.from({ length: bytes.readUInt16LE(56) }, (_, i): Segment => {
    const at = table + i * entrySize;
    return { type: bytes.readUInt32LE(at), offset: Number(bytes.readBigUInt64LE(at + 8)), address: Number(bytes.readBigUInt64LE(at + 16)), size: Number(bytes.readBigUInt64LE(at + 32)) };
  });
  const interp = segments.find((s) => s.type === PT_INTERP);
  return { machine, interpreter: interp === undefined ? undefined : stringAt(bytes, interp.offset), needed: neededOf(bytes, segments) };
}

function neededOf(bytes: Buffer, segments: readonly Segment[]): string[] {
  const dynamic = segments.find((s) => s.type === PT_DYNAMIC);
  if (dynamic === undefined) return [];
  const names: number[] = [];
  let strings = 0;
  for (let at = dynamic.offset; at < dynamic.offset + dynamic.size; at += 16) {
    const tag = bytes.readBigInt64LE(at);
    const value = Number(bytes.readBigUInt64LE(at + 8));
    if (tag === 0n) break;
    if (tag === DT_NEEDED) names.push(value);
    if (tag === DT_STRTAB) strings = value;
  }
  // The dynamic section speaks in addresses; segments say where in the file they are.
  const holder = segments.find((s) => s.type === PT_LOAD && strings >= s.address && strings < s.address + s.size);
  if (holder === undefined) throw new RangeError("the dynamic section's strings are in no segment");
  return names.map((n) => stringAt(bytes, holder.offset + strings - holder.address + n));
}

function stringAt(bytes: Buffer, at: number): string {
  const end = bytes.indexOf(0, at);
  if (end < 0) throw new RangeError("a string without an end");
  return bytes.toString("latin1", at, end);
}
