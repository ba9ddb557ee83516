// Owns the composition of images: base, programs and component become layers, and layers an archive with its bill of materials.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { encodeArchive, makeLayer, sha256, type Layer } from "./archive/oci.ts";
import type { TarEntry } from "./archive/tar.ts";
import { bundle, type Bundle } from "./bundle.ts";
import type { Component } from "./components.ts";
import { singleExecutable } from "./executable.ts";
import { noticesOf, npmPackage, readIntegrities } from "./materials.ts";
import { baseOf, NODE, type Base } from "./root/base.ts";
import { debianOwners, type DebianPackage } from "./root/debian.ts";
import type { FoundLibrary } from "./root/libraries.ts";
import { koffiIn, type Machine } from "./root/machine.ts";
import { programsOf } from "./root/programs.ts";
import { renderSbom } from "./sbom.ts";

export interface BuiltImage {
  /** repository:tag */
  readonly name: string;
  readonly archive: Buffer;
  readonly sbom: string;
  /** Of the manifest. */
  readonly digest: string;
  readonly unpackedBytes: number;
  /** The CNI plugin, where the component has one. */
  readonly plugin: Buffer | undefined;
}

export interface BuildOptions {
  readonly repo: string;
  readonly version: string;
  /** Commit of the source; undefined where it is not known. */
  readonly revision: string | undefined;
  readonly machine: Machine;
}

/** Makes images of one machine; what they share is read and compressed once. */
export class ImageBuilder {
  readonly #o: BuildOptions;
  readonly #integrities: ReadonlyMap<string, string>;
  readonly #owner: (path: string) => DebianPackage | undefined;
  readonly #base: Base;
  readonly #baseLayer: Layer;

  constructor(o: BuildOptions) {
    this.#o = o;
    this.#integrities = readIntegrities(o.repo);
    this.#owner = debianOwners(o.machine.libraries.root);
    this.#base = baseOf(o.machine);
    this.#baseLayer = makeLayer([...this.#base.entries, ...noticesOf(o.machine.node), ...this.#copyrights(this.#base.libraries, new Set())], "Node, its libraries, certificates");
  }

  async build(component: Component): Promise<BuiltImage> {
    const { repo, version, machine } = this.#o;
    const present = new Set(this.#base.entries.map((e) => e.path));
    const programs = programsOf(component, machine, present);
    const code = await bundle(repo, component.bundles);
    const pluginCode = component.plugin === undefined ? undefined : await bundle(repo, { plugin: component.plugin }, true);
    const script = pluginCode?.files["plugin.cjs"];
    const executable = script === undefined ? undefined : singleExecutable(readFileSync(join(machine.node, "bin/node")), script);
    const packages = [...new Set([...code.packages, ...(pluginCode?.packages ?? [])].map((p) => join(repo, p)))];
    const native = component.native ? nativeEntries(repo, machine) : undefined;
    const folders = [machine.node, ...packages, ...(native?.folders ?? [])];
    const sbom = this.#sbom(component, folders, programs);
    const layers = [this.#baseLayer];
    if (programs.length > 0) layers.push(makeLayer([...programs.map((p) => p.entry), ...this.#copyrights(programs, this.#owned(this.#base.libraries))], "programs"));
    layers.push(makeLayer([
      ...filesOf(code),
      ...(native?.entries ?? []),
      ...(executable === undefined ? [] : [file("app/istio-cni", executable, 0o755)]),
      ...[...packages, ...(native?.folders ?? [])].flatMap(noticesOf),
      ...["LICENSE", "NOTICE"].map((name) => file(`usr/share/licenses/ambit/${name}`, readFileSync(join(repo, name)))),
      file("usr/share/sbom/ambit.cdx.json", Buffer.from(sbom)),
    ], component.name));
    const name = `ambit/${component.name}:${version}`;
    const { archive, digest } = encodeArchive({
      name, architecture: machine.architecture, user: component.user, layers, entrypoint: [NODE, "/app/main.mjs"], labels: this.#labels(component),
      env: ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"],
    });
    return { name, archive, digest, sbom, unpackedBytes: layers.reduce((sum, l) => sum + l.unpackedBytes, 0), plugin: executable };
  }

  /** OCI image-spec, pre-defined annotation keys. No time: it would be another image every second. */
  #labels(component: Component): Record<string, string> {
    const { version, revision } = this.#o;
    return {
      "org.opencontainers.image.title": component.name, "org.opencontainers.image.description": component.description, "org.opencontainers.image.version": version,
      "org.opencontainers.image.licenses": "Apache-2.0", ...(revision === undefined ? {} : { "org.opencontainers.image.revision": revision }),
    };
  }

  #sbom(component: Component, folders: readonly string[], programs: readonly FoundLibrary[]): string {
    const all = [...this.#base.libraries, ...programs];
    const release = join(this.#o.machine.libraries.root, "/etc/os-release");
    const versionId = existsSync(release) ? /^VERSION_ID="?([^"\n]+)/m.exec(readFileSync(release, "utf8"))?.[1] : undefined;
    return renderSbom({
      image: component.name, version: this.#o.version, license: "Apache-2.0", npm: folders.map((f) => npmPackage(f, this.#integrities)),
      debian: [...this.#owned(all).values()], distribution: versionId === undefined ? undefined : `debian-${versionId}`,
      loose: all.flatMap((f) => (f.entry.type !== "file" || this.#owner(f.source) !== undefined ? [] : [{ path: f.entry.path, sha256: sha256(f.entry.body) }])),
    });
  }

  #owned(files: readonly FoundLibrary[]): Map<string, DebianPackage> {
    return new Map(files.flatMap((f) => { const owner = this.#owner(f.source); return owner === undefined ? [] : [[owner.name, owner] as const]; }));
  }

  /** Debian's record of the authors and terms of what is taken from it. */
  #copyrights(files: readonly FoundLibrary[], without: { has(name: string): boolean }): TarEntry[] {
    return [...this.#owned(files).keys()].filter((name) => !without.has(name)).flatMap((name) => {
      const path = join(this.#o.machine.libraries.root, "/usr/share/doc", name, "copyright");
      return existsSync(path) ? [file(`usr/share/doc/${name}/copyright`, readFileSync(path))] : [];
    });
  }
}

const file = (path: string, body: Uint8Array, mode = 0o644): TarEntry => ({ path, type: "file", mode, body });
const filesOf = (b: Bundle): TarEntry[] => Object.entries(b.files).map(([name, body]) => file(`app/${name}`, body));

/** koffi stays as it is published: its loader looks for its native file beside it. */
function nativeEntries(repo: string, machine: Machine): { entries: TarEntry[]; folders: string[] } {
  const koffi = koffiIn(repo);
  const native = machine.koffiNative;
  const { name } = JSON.parse(readFileSync(join(native, "package.json"), "utf8")) as { name: string };
  const own = ["package.json", "index.js", "src/koffi/index.js", "src/koffi/src/static.js"].map((f) => file(`app/node_modules/koffi/${f}`, readFileSync(join(koffi, f))));
  const folder = `linux_${machine.architecture === "amd64" ? "x64" : "arm64"}`;
  const theirs = ["package.json", "index.js", `${folder}/koffi.node`].map((f) => file(`app/node_modules/${name}/${f}`, readFileSync(join(native, f))));
  return { entries: [...own, ...theirs], folders: [koffi, native] };
}
