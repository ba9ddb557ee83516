// Owns where the parts that are not ours come from, for each architecture: Node, its libraries, koffi's native file.
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { LibrarySource } from "./libraries.ts";

export type Architecture = "amd64" | "arm64";
export const ARCHITECTURES: readonly Architecture[] = ["amd64", "arm64"];

export interface Machine {
  readonly architecture: Architecture;
  /** Folder of the npm package `node-linux-*`, with bin/node, LICENSE and package.json. */
  readonly node: string;
  /** Folder of the npm package `@koromix/koffi-linux-*`. */
  readonly koffiNative: string;
  readonly libraries: LibrarySource;
}

const OF: Readonly<Record<Architecture, { readonly npm: "x64" | "arm64"; readonly triplet: string; readonly machine: "x86-64" | "aarch64" }>> = {
  amd64: { npm: "x64", triplet: "x86_64-linux-gnu", machine: "x86-64" },
  arm64: { npm: "arm64", triplet: "aarch64-linux-gnu", machine: "aarch64" },
};

/** Names of npm packages for an architecture. */
export const npmNames = (architecture: Architecture) => ({ node: `node-linux-${OF[architecture].npm}`, koffi: `@koromix/koffi-linux-${OF[architecture].npm}` });
export const tripletOf = (architecture: Architecture): string => OF[architecture].triplet;

/** This machine itself: the Node that runs us, if it is the pinned one from npm, and the libraries it runs with. */
export function thisMachine(repo: string): Machine {
  const architecture = ARCHITECTURES.find((a) => OF[a].npm === process.arch);
  if (architecture === undefined) throw new Error(`images are made for ${ARCHITECTURES.join(" and ")}, not on ${process.arch}`);
  const node = dirname(dirname(process.execPath));
  if (!existsSync(join(node, "package.json"))) throw new Error(`${process.execPath} is not the pinned Node from npm: run "npm test" or "npm start" once, then use .tools/node_modules/.bin/node`);
  return { architecture, node, koffiNative: koffiNativeIn(repo, architecture), libraries: { root: "", triplet: OF[architecture].triplet, machine: OF[architecture].machine } };
}

/** Another one, whose parts were fetched into folders. */
export const foreignMachine = (architecture: Architecture, at: { readonly node: string; readonly koffiNative: string; readonly root: string }): Machine => ({
  architecture, node: at.node, koffiNative: at.koffiNative, libraries: { root: at.root, triplet: OF[architecture].triplet, machine: OF[architecture].machine },
});

export const koffiVersion = (repo: string): string => (JSON.parse(readFileSync(join(koffiIn(repo), "package.json"), "utf8")) as { version: string }).version;

/** koffi's folder in the workspace, as packages/linux sees it. */
export const koffiIn = (repo: string): string => join(repo, "packages/linux/node_modules/koffi");

function koffiNativeIn(repo: string, architecture: Architecture): string {
  return join(repo, "node_modules/.pnpm", `${npmNames(architecture).koffi.replace("/", "+")}@${koffiVersion(repo)}`, "node_modules", npmNames(architecture).koffi);
}
