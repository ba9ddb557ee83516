// Owns the lowest layer, the same for every image of an architecture: Node, what it loads, and the files that libc and TLS expect.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { TarEntry } from "../archive/tar.ts";
import { rootCertificates } from "./certificates.ts";
import { librariesOf, type FoundLibrary } from "./libraries.ts";
import type { Machine } from "./machine.ts";

export interface Base { readonly entries: readonly TarEntry[]; readonly libraries: readonly FoundLibrary[] }

export const NODE = "/usr/bin/node";
const TEXT: Readonly<Record<string, string>> = {
  "etc/passwd": "root:x:0:0:root:/:/sbin/nologin\nambit:x:1337:1337:ambit:/:/sbin/nologin\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n",
  "etc/group": "root:x:0:\nambit:x:1337:\nnogroup:x:65534:\n",
  // /etc/hosts before DNS: a container runtime writes the pod's own name there.
  "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
};
/** Mount points, and what programs expect to be there. */
const FOLDERS = ["dev", "proc", "sys", "run", "etc", "usr/bin", "usr/sbin", "usr/lib", "usr/lib64"];
const LINKS: Readonly<Record<string, string>> = { bin: "usr/bin", sbin: "usr/sbin", lib: "usr/lib", lib64: "usr/lib64", "var/run": "../run" };

export function baseOf(machine: Machine): Base {
  const node = readFileSync(join(machine.node, "bin/node"));
  const libraries = librariesOf([{ path: "node", body: node }], machine.libraries);
  const file = (path: string, body: Uint8Array, mode = 0o644): TarEntry => ({ path, type: "file", mode, body });
  return {
    libraries,
    entries: [
      file(NODE.slice(1), node, 0o755),
      ...libraries.map((l) => l.entry),
      ...Object.entries(TEXT).map(([path, text]) => file(path, Buffer.from(text))),
      file("etc/ssl/certs/ca-certificates.crt", Buffer.from(rootCertificates())),
      ...FOLDERS.map((path): TarEntry => ({ path, type: "directory", mode: 0o755 })),
      ...["tmp", "var/tmp"].map((path): TarEntry => ({ path, type: "directory", mode: 0o1777 })),
      ...Object.entries(LINKS).map(([path, target]): TarEntry => ({ path, type: "symlink", target })),
    ],
  };
}
