// Owns the bytes of a tar archive (POSIX.1-1988 ustar), of plain files only.

const BLOCK = 512;
const NAME_MAX = 100;
const PREFIX_MAX = 155;
const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

export interface TarFile { readonly path: string; readonly content: string }

/** `mtimeMs` of every file; throws when a path does not fit, which ours do. */
export function encodeTar(files: readonly TarFile[], mtimeMs: number): Uint8Array {
  const parts = files.flatMap(({ path, content }) => {
    const bytes = encode(content);
    return [header(path, bytes.length, mtimeMs), bytes, new Uint8Array(-bytes.length & (BLOCK - 1))];
  });
  // Two empty blocks are the end.
  const out = new Uint8Array(parts.reduce((n, p) => n + p.length, 2 * BLOCK));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

function header(path: string, size: number, mtimeMs: number): Uint8Array {
  const { name, prefix } = split(path);
  const block = new Uint8Array(BLOCK);
  const put = (text: string, at: number): void => block.set(encode(text), at);
  const octal = (n: number, digits: number): string => n.toString(8).padStart(digits, "0");
  put(name, 0);
  put(octal(0o600, 7), 100);
  put(octal(0, 7), 108);
  put(octal(0, 7), 116);
  put(octal(size, 11), 124);
  put(octal(Math.floor(mtimeMs / 1000), 11), 136);
  put(" ".repeat(8), 148);
  put("0", 156);
  put("ustar\u000000", 257);
  put(prefix, 345);
  put(`${octal(block.reduce((a, b) => a + b, 0), 6)}\u0000 `, 148);
  return block;
}

/** A long path is cut at a slash into two fields. */
function split(path: string): { name: string; prefix: string } {
  if (encode(path).length <= NAME_MAX) return { name: path, prefix: "" };
  for (let at = path.lastIndexOf("/"); at > 0; at = path.lastIndexOf("/", at - 1)) {
    const [prefix, name] = [path.slice(0, at), path.slice(at + 1)];
    if (encode(name).length <= NAME_MAX && encode(prefix).length <= PREFIX_MAX) return { name, prefix };
  }
  throw new Error(`the path "${path}" does not fit into a tar header`);
}
