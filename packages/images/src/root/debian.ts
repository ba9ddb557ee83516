// Owns which Debian package a file of this machine came with: for the bill of materials.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

export interface DebianPackage { readonly name: string; readonly version: string; readonly architecture: string }

/** Answers for files below `root`; undefined for a file that no package owns, or where there is no dpkg. */
export function debianOwners(root: string): (path: string) => DebianPackage | undefined {
  const info = join(root, "/var/lib/dpkg/info");
  if (!existsSync(info)) return () => undefined;
  const packages = new Map(readFileSync(join(root, "/var/lib/dpkg/status"), "utf8").split("\n\n").flatMap((stanza): [string, DebianPackage][] => {
    const field = (name: string) => new RegExp(`^${name}: (.*)$`, "m").exec(stanza)?.[1];
    const [name, version, architecture] = [field("Package"), field("Version"), field("Architecture")];
    return name === undefined || version === undefined || architecture === undefined ? [] : [[name, { name, version, architecture }]];
  }));
  const owner = new Map<string, string>();
  for (const file of readdirSync(info)) {
    if (!file.endsWith(".list")) continue;
    const name = file.slice(0, -".list".length).split(":")[0] ?? "";
    for (const path of readFileSync(join(info, file), "utf8").split("\n")) owner.set(path, name);
  }
  return (path) => {
    const inside = root === "" ? path : path.slice(root.length);
    // Packages older than the merge of /lib and /usr/lib list their files without /usr.
    const name = owner.get(inside) ?? owner.get(inside.replace(/^\/usr/, "")) ?? owner.get(`/usr${inside}`);
    return name === undefined ? undefined : packages.get(name);
  };
}
