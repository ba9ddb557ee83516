// Owns the layer of programs that a component runs, with their libraries and run-time modules.
import { existsSync, readdirSync, readFileSync, realpathSync } from "node:fs";
import { basename, join } from "node:path";
import type { Component } from "../components.ts";
import { librariesOf, type FoundLibrary } from "./libraries.ts";
import type { Machine } from "./machine.ts";

/** iptables loads matches and targets by name; those of bridges and ARP are never asked for. */
const MODULE = /^lib(?:xt|ipt|ip6t)_\w+\.so$/;

/** `present`: paths that a lower layer has. Throws with the name of a program that this machine lacks. */
export function programsOf(component: Component, machine: Machine, present: ReadonlySet<string>): FoundLibrary[] {
  const { root, triplet } = machine.libraries;
  const programs = component.programs.map((p) => {
    const file = [p.path, `/usr${p.path}`].map((path) => join(root, "/", path)).find((path) => existsSync(path));
    if (file === undefined) throw new Error(`the image of ${component.name} needs ${p.path}, which is not here`);
    return { ...p, source: realpathSync(file) };
  });
  const modules = component.modules.flatMap((folder) => {
    const from = join(root, "/usr/lib", triplet, folder);
    return readdirSync(from).filter((name) => MODULE.test(name)).sort().map((name) => ({ path: `usr/lib/${triplet}/${folder}/${name}`, source: realpathSync(join(from, name)) }));
  });
  const files: FoundLibrary[] = [...programs.map((p) => ({ path: inUsr(p.path), source: p.source })), ...modules].map(({ path, source }) => ({ source, entry: { path, type: "file", mode: 0o755, body: readFileSync(source) } }));
  const links = programs.flatMap((p) => (p.names ?? []).map((name): FoundLibrary => ({ source: p.source, entry: { path: join(inUsr(p.path), "..", name), type: "symlink", target: basename(p.path) } })));
  const libraries = librariesOf(files.map((f) => ({ path: f.entry.path, body: f.entry.type === "file" ? Buffer.from(f.entry.body) : Buffer.alloc(0) })), machine.libraries);
  return [...files, ...links, ...libraries].filter((f) => !present.has(f.entry.path));
}

/** /bin and /sbin are links into /usr. */
const inUsr = (path: string): string => (path.startsWith("/usr/") ? path.slice(1) : `usr${path}`);
