// Owns the bill of materials of an image: CycloneDX 1.6, one component for everything in it that is not ours.
import type { DebianPackage } from "./root/debian.ts";

export interface NpmPackage {
  readonly name: string;
  readonly version: string;
  readonly license: string | undefined;
  /** Subresource integrity of the lockfile (sha512-…), where it knows the package. */
  readonly integrity: string | undefined;
}

/** A file that no package owns. */
export interface LooseFile { readonly path: string; readonly sha256: string }

export interface Materials {
  readonly image: string;
  readonly version: string;
  readonly license: string;
  readonly npm: readonly NpmPackage[];
  readonly debian: readonly DebianPackage[];
  /** Release of Debian, e.g. debian-12; undefined where the machine is not Debian. */
  readonly distribution: string | undefined;
  readonly loose: readonly LooseFile[];
}

/** Same materials, same octets: neither time nor serial number. Lists are sorted here. */
export function renderSbom(m: Materials): string {
  const components = [
    ...m.npm.map((p) => ({ type: "library", ...npmName(p.name), version: p.version, ...(p.license === undefined ? {} : { licenses: [{ expression: p.license }] }), ...hashes(p.integrity), purl: npmPurl(p) })),
    ...m.debian.map((p) => ({ type: "library", name: p.name, version: p.version, purl: `pkg:deb/debian/${encodeURIComponent(p.name)}@${encodeURIComponent(p.version)}?arch=${p.architecture}${m.distribution === undefined ? "" : `&distro=${m.distribution}`}` })),
    ...m.loose.map((f) => ({ type: "file", name: f.path, hashes: [{ alg: "SHA-256", content: f.sha256 }] })),
  ];
  const keyed = components.map((c) => ({ ...c, "bom-ref": "purl" in c ? c.purl : `file:${c.name}` })).sort((a, b) => (a["bom-ref"] < b["bom-ref"] ? -1 : 1));
  const self = `pkg:oci/${m.image}@${m.version}`;
  return `${JSON.stringify({
    bomFormat: "CycloneDX", specVersion: "1.6", version: 1,
    metadata: { component: { type: "container", "bom-ref": self, name: m.image, version: m.version, licenses: [{ license: { id: m.license } }] } },
    components: keyed, dependencies: [{ ref: self, dependsOn: keyed.map((c) => c["bom-ref"]) }],
  }, null, 1)}\n`;
}

const npmName = (name: string): { group?: string; name: string } => (name.startsWith("@") ? { group: name.slice(0, name.indexOf("/")), name: name.slice(name.indexOf("/") + 1) } : { name });
const npmPurl = (p: NpmPackage): string => `pkg:npm/${p.name.replace(/^@/, "%40")}@${p.version}`;

function hashes(integrity: string | undefined): { hashes?: { alg: string; content: string }[] } {
  const found = /^sha512-(.+)$/.exec(integrity ?? "")?.[1];
  return found === undefined ? {} : { hashes: [{ alg: "SHA-512", content: Buffer.from(found, "base64").toString("hex") }] };
}
