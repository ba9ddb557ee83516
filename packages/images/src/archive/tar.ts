// Owns writing tar: the same entries give the same octets, whoever writes them and when.

export type TarEntry =
  | { readonly path: string; readonly type: "file"; readonly mode: number; readonly body: Uint8Array }
  | { readonly path: string; readonly type: "directory"; readonly mode: number }
  | { readonly path: string; readonly type: "symlink"; readonly target: string };

const BLOCK = 512;
/** Eleven octal digits. Nothing in an image of ours comes near it. */
const FILE_MAX_BYTES = 0o77777777777;
const NAME_MAX_BYTES = 100;
const PREFIX_MAX_BYTES = 155;
const TYPE_FLAG = { file: "0", directory: "5", symlink: "2" } as const;

/**
 * POSIX ustar (IEEE 1003.1, pax): sorted by path, all of it root's, of 1970. Folders that a path passes through are made, mode 755, unless an
 * entry says otherwise. Throws where two entries have one path, or ustar has no room for a name.
 */
export function encodeTar(entries: readonly TarEntry[]): Buffer {
  const all = withFolders(entries);
  return Buffer.concat([...all.flatMap(encodeEntry), Buffer.alloc(2 * BLOCK)]);
}

function withFolders(entries: readonly TarEntry[]): TarEntry[] {
  const byPath = new Map<string, TarEntry>();
  for (const entry of entries) {
    if (!/^[^/\0]+(?:\/[^/\0]+)*$/.test(entry.path) || entry.path.split("/").some((p) => p === "." || p === "..")) throw new Error(`"${entry.path}" is not a path within an archive`);
    if (byPath.has(entry.path)) throw new Error(`${entry.path} is there twice`);
    byPath.set(entry.path, entry);
  }
  for (const { path } of entries) {
    for (let at = path.lastIndexOf("/"); at > 0; at = path.lastIndexOf("/", at - 1)) {
      const folder = path.slice(0, at);
      const there = byPath.get(folder);
      if (there === undefined) byPath.set(folder, { path: folder, type: "directory", mode: 0o755 });
      else if (there.type !== "directory") throw new Error(`${path} lies below ${folder}, which is no folder`);
    }
  }
  // By octets: a locale would sort otherwise. A folder comes before what is in it.
  return [...byPath.values()].sort((a, b) => Buffer.compare(Buffer.from(a.path), Buffer.from(b.path)));
}

function encodeEntry(entry: TarEntry): Buffer[] {
  const body = entry.type === "file" ? entry.body : new Uint8Array();
  if (body.length > FILE_MAX_BYTES) throw new Error(`${entry.path}: ${body.length} bytes do not fit into tar`);
  const { prefix, name } = split(entry.type === "directory" ? `${entry.path}/` : entry.path);
  const target = entry.type === "symlink" ? entry.target : "";
  if (Buffer.byteLength(target) > NAME_MAX_BYTES) throw new Error(`${entry.path}: its target is too long for tar`);
  const header = Buffer.alloc(BLOCK);
  const octal = (value: number, at: number, digits: number): void => void header.write(value.toString(8).padStart(digits, "0"), at, "latin1");
  header.write(name, 0);
  octal(entry.type === "symlink" ? 0o777 : entry.mode, 100, 7);
  octal(0, 108, 7); // owner
  octal(0, 116, 7); // group
  octal(body.length, 124, 11);
  octal(0, 136, 11); // time
  header.fill(" ", 148, 156);
  header.write(TYPE_FLAG[entry.type], 156, "latin1");
  header.write(target, 157);
  header.write("ustar\x0000", 257, "latin1");
  header.write(prefix, 345);
  header.write(`${header.reduce((sum, octet) => sum + octet, 0).toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return [header, Buffer.from(body.buffer, body.byteOffset, body.length), Buffer.alloc((BLOCK - (body.length % BLOCK)) % BLOCK)];
}

/** A long path is cut at a slash. */
function split(path: string): { prefix: string; name: string } {
  if (Buffer.byteLength(path) <= NAME_MAX_BYTES) return { prefix: "", name: path };
  for (let at = path.indexOf("/"); at > 0 && at < path.length - 1; at = path.indexOf("/", at + 1)) {
    const prefix = path.slice(0, at);
    const name = path.slice(at + 1);
    if (Buffer.byteLength(prefix) <= PREFIX_MAX_BYTES && Buffer.byteLength(name) <= NAME_MAX_BYTES) return { prefix, name };
  }
  throw new Error(`${path}: the path is too long for tar`);
}
