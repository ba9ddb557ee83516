// Owns reading a tar stream from bytes we do not trust: headers (ustar, pax, GNU long names), sizes and bounds.

export type TarType = "file" | "directory" | "symlink" | "hardlink" | "char" | "block" | "fifo";
export interface TarHeader { readonly path: string; readonly type: TarType; readonly size: number; readonly mode: number; readonly uid: number; readonly gid: number; readonly linkPath: string }
export interface TarEntry extends TarHeader {
  /** Must be read to its end (or skipped) before the next entry. */
  readonly content: AsyncIterable<Buffer>;
}

const BLOCK = 512;
/** Names and pax records longer than this are not file names. */
const META_MAX_BYTES = 64 * 1024;
const TYPES: Readonly<Record<string, TarType>> = { "0": "file", "\0": "file", "7": "file", "1": "hardlink", "2": "symlink", "3": "char", "4": "block", "5": "directory", "6": "fifo" };

export class TarError extends Error {}

/** Yields entries in order; throws TarError at the first thing that is not tar. */
export async function* readTar(source: AsyncIterable<Uint8Array>): AsyncGenerator<TarEntry> {
  const reader = new BlockReader(source);
  let extra: Record<string, string> = {};
  let common: Record<string, string> = {};
  for (let index = 0; ; index++) {
    const block = await reader.take(BLOCK);
    if (block === undefined) return; // some writers leave the end marks out
    if (block.every((b) => b === 0)) return;
    const where = `entry ${index}`;
    checkSum(block, where);
    const flag = String.fromCharCode(block[156] ?? 0);
    const size = numeric(block, 124, 12, where);
    if (flag === "x" || flag === "g" || flag === "L" || flag === "K") {
      if (size > META_MAX_BYTES) throw new TarError(`${where}: a name of ${size} bytes`);
      const body = (await reader.take(pad(size), true))?.subarray(0, size) ?? Buffer.alloc(0);
      if (flag === "L") extra["path"] = cstring(body, 0, body.length);
      else if (flag === "K") extra["linkpath"] = cstring(body, 0, body.length);
      else if (flag === "g") common = { ...common, ...pax(body, where) };
      else extra = { ...extra, ...pax(body, where) };
      continue;
    }
    const meta = { ...common, ...extra };
    extra = {};
    const type = TYPES[flag];
    const prefix = block.subarray(257, 262).toString("latin1") === "ustar" && block[263] === 0x30 ? cstring(block, 345, 155) : "";
    const name = cstring(block, 0, 100);
    const path = meta["path"] ?? (prefix === "" ? name : `${prefix}/${name}`);
    if (type === undefined) throw new TarError(`${where} ("${path.slice(0, 100)}"): unknown type ${JSON.stringify(flag)}`);
    const length = type === "file" ? (meta["size"] === undefined ? size : decimal(meta["size"], where)) : 0;
    const content = reader.body(length);
    yield {
      path, type, size: length, mode: numeric(block, 100, 8, where) & 0o7777, uid: id(meta["uid"], block, 108, where), gid: id(meta["gid"], block, 116, where),
      linkPath: meta["linkpath"] ?? cstring(block, 157, 100), content,
    };
    for await (const _ of content) { /* what the caller left */ }
  }
}

const pad = (n: number): number => Math.ceil(n / BLOCK) * BLOCK;

function cstring(b: Uint8Array, at: number, length: number): string {
  const field = Buffer.from(b.subarray(at, at + length));
  const end = field.indexOf(0);
  return field.subarray(0, end < 0 ? field.length : end).toString("utf8");
}

function numeric(b: Uint8Array, at: number, length: number, where: string): number {
  const first = b[at] ?? 0;
  if ((first & 0x80) !== 0) {
    let n = first & 0x7f;
    for (let i = at + 1; i < at + length; i++) {
      n = n * 256 + (b[i] ?? 0);
      if (n > Number.MAX_SAFE_INTEGER) throw new TarError(`${where}: a number is too large`);
    }
    return n;
  }
  const text = cstring(b, at, length).trim();
  if (text === "") return 0;
  if (!/^[0-7]+$/.test(text)) throw new TarError(`${where}: ${JSON.stringify(text)} is not an octal number`);
  return parseInt(text, 8);
}
function decimal(text: string, where: string): number {
  const n = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(n)) throw new TarError(`${where}: ${JSON.stringify(text)} is not a number`);
  return n;
}
const id = (text: string | undefined, b: Uint8Array, at: number, where: string): number => (text === undefined ? numeric(b, at, 8, where) : decimal(text, where));

function checkSum(b: Uint8Array, where: string): void {
  let sum = 0;
  for (let i = 0; i < BLOCK; i++) sum += i >= 148 && i < 156 ? 0x20 : (b[i] ?? 0);
  const written = cstring(b, 148, 8).trim();
  if (!/^[0-7]+$/.test(written) || sum !== parseInt(written, 8)) throw new TarError(`${where}: not a tar header (its checksum is wrong)`);
}

function pax(body: Uint8Array, where: string): Record<string, string> {
  const out: Record<string, string> = {};
  const bytes = Buffer.from(body);
  for (let at = 0; at < bytes.length; ) {
    const space = bytes.indexOf(0x20, at);
    const length = space < 0 ? NaN : Number(bytes.subarray(at, space).toString("latin1"));
    if (!Number.isInteger(length) || length <= space - at + 1 || at + length > bytes.length) throw new TarError(`${where}: a malformed pax record`);
    const text = bytes.subarray(space + 1, at + length - 1).toString("utf8");
    const eq = text.indexOf("=");
    if (eq < 0) throw new TarError(`${where}: a pax record without a value`);
    out[text.slice(0, eq)] = text.slice(eq + 1);
    at += length;
  }
  return out;
}

/** Cuts a stream of chunks into blocks without keeping more than one chunk. */
class BlockReader {
  readonly #source: AsyncIterator<Uint8Array>;
  #chunk: Buffer = Buffer.alloc(0);

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** `n` bytes, or undefined at the end; a stream that ends within them is an error. */
  async take(n: number, required = false): Promise<Buffer | undefined> {
    const parts: Buffer[] = [];
    let have = 0;
    while (have < n) {
      const next = await this.#some(n - have);
      if (next === undefined) {
        if (have === 0 && !required) return undefined;
        throw new TarError("the archive ends within an entry");
      }
      parts.push(next);
      have += next.length;
    }
    return parts.length === 1 ? parts[0] : Buffer.concat(parts);
  }

  async *body(size: number): AsyncGenerator<Buffer> {
    let left = size;
    while (left > 0) {
      const next = await this.#some(left);
      if (next === undefined) throw new TarError("the archive ends within a file");
      left -= next.length;
      yield next;
    }
    if (pad(size) > size) await this.take(pad(size) - size, true);
  }

  async #some(most: number): Promise<Buffer | undefined> {
    while (this.#chunk.length === 0) {
      const { done, value } = await this.#source.next();
      if (done === true) return undefined;
      this.#chunk = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    }
    const out = this.#chunk.subarray(0, most);
    this.#chunk = this.#chunk.subarray(out.length);
    return out;
  }
}
