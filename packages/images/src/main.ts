// Owns `pnpm images`: builds the images, writes archives and bills of materials, says how large they are.
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { COMPONENTS, SAMPLE, type Component } from "./components.ts";
import { fetchForeign } from "./foreign.ts";
import { ImageBuilder } from "./image.ts";
import { ARCHITECTURES, koffiVersion, thisMachine, type Machine } from "./root/machine.ts";

const REPO = join(import.meta.dirname, "../../..");
const MIB = 1024 * 1024;

/** What a tag may be (OCI distribution-spec 1.1). */
const TAG = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;

const { values } = parseArgs({ options: { out: { type: "string" }, only: { type: "string", multiple: true }, tag: { type: "string" }, sample: { type: "boolean" }, arch: { type: "string" } } });
const out = values.out;
if (out === undefined) throw new Error("usage: pnpm images --out DIR [--only NAME]… [--tag TAG] [--sample] [--arch amd64|arm64]");
const components: readonly Component[] = values.sample === true ? [SAMPLE] : COMPONENTS;
const unknown = (values.only ?? []).filter((name) => !components.some((c) => c.name === name));
if (unknown.length > 0) throw new Error(`no image is called ${unknown.join(", ")}: there are ${components.map((c) => c.name).join(", ")}`);
const { version: own } = JSON.parse(readFileSync(join(REPO, "package.json"), "utf8")) as { version: string };
const version = values.tag ?? own;
if (!TAG.test(version)) throw new Error(`"${version}" cannot be the tag of an image`);

mkdirSync(out, { recursive: true });
const machine = machineFor(values.arch);
const builder = new ImageBuilder({ repo: REPO, version, revision: revision(), machine });
for (const component of components.filter((c) => values.only === undefined || values.only.includes(c.name))) {
  const image = await builder.build(component);
  const stem = `${component.name}-${version}-${machine.architecture}`;
  writeFileSync(join(out, `${stem}.tar`), image.archive);
  writeFileSync(join(out, `${stem}.cdx.json`), image.sbom);
  if (image.plugin !== undefined) writeFileSync(join(out, `istio-cni-${version}-${machine.architecture}`), image.plugin, { mode: 0o755 });
  process.stdout.write(`${stem}.tar  ${image.name}  ${(image.archive.length / MIB).toFixed(1)} MiB, ${(image.unpackedBytes / MIB).toFixed(1)} MiB unpacked  ${image.digest}\n`);
}

/** This machine, or the parts of another architecture, which are fetched once. */
function machineFor(wanted: string | undefined): Machine {
  const own = thisMachine(REPO);
  const architecture = ARCHITECTURES.find((a) => a === (wanted ?? own.architecture));
  if (architecture === undefined) throw new Error(`--arch: images are made for ${ARCHITECTURES.join(" and ")}`);
  if (architecture === own.architecture) return own;
  if (components.includes(SAMPLE)) throw new Error("the sample's image is made for this machine only");
  return fetchForeign(join(REPO, ".tools/images", architecture), architecture, { node: process.versions.node, koffi: koffiVersion(REPO) });
}

/** Of a work tree without changes; anything else has no name. */
function revision(): string | undefined {
  try {
    const git = (...args: string[]) => execFileSync("git", ["-C", REPO, ...args], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
    return git("status", "--porcelain") === "" ? git("rev-parse", "HEAD") : undefined;
  } catch {
    return undefined; // not a work tree, or no git
  }
}
