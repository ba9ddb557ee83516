// Owns the archive of one image: an OCI image layout as a tar, that Docker reads too.
import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import { encodeTar, type TarEntry } from "./tar.ts";

/** One layer, ready to be put into any number of archives. */
export interface Layer {
  /** sha256 of the tar itself, before compression. */
  readonly diffId: string;
  readonly gzipped: Buffer;
  /** What it takes when unpacked, bytes. */
  readonly unpackedBytes: number;
  readonly createdBy: string;
}

export interface ImageSpec {
  /** `repository:tag`, e.g. ambit/ztunnel:0.1.0; without a host, as a pod would write it. */
  readonly name: string;
  readonly architecture: "amd64" | "arm64";
  readonly user: string;
  readonly env: readonly string[];
  readonly entrypoint: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly layers: readonly Layer[];
}

/** Reproducible: nothing in an archive says when it was made. */
const CREATED = "1970-01-01T00:00:00Z";
const TYPES = {
  config: "application/vnd.oci.image.config.v1+json",
  layer: "application/vnd.oci.image.layer.v1.tar+gzip",
  manifest: "application/vnd.oci.image.manifest.v1+json",
  index: "application/vnd.oci.image.index.v1+json",
} as const;
const DEFAULT_REGISTRY = "docker.io";

export function makeLayer(entries: readonly TarEntry[], createdBy: string): Layer {
  const tar = encodeTar(entries);
  // zlib writes no time and no name; its octets depend on Node's version only, which is pinned.
  return { diffId: `sha256:${sha256(tar)}`, gzipped: gzipSync(tar), unpackedBytes: entries.reduce((sum, e) => sum + (e.type === "file" ? e.body.length : 0), 0), createdBy };
}

/**
 * OCI image-spec 1.1, image layout; `manifest.json` beside it is what `docker load` reads (docker save v1.2). The name is written in full for
 * containerd, and its tag as the reference for skopeo.
 */
export function encodeArchive(image: ImageSpec): { readonly archive: Buffer; readonly digest: string } {
  const blobs = new Map<string, Buffer>();
  const add = (mediaType: string, body: Buffer) => {
    const hex = sha256(body);
    blobs.set(hex, body);
    return { mediaType, digest: `sha256:${hex}`, size: body.length };
  };
  const platform = { architecture: image.architecture, os: "linux" };
  const config = add(TYPES.config, json({
    created: CREATED, ...platform,
    config: { User: image.user, Env: image.env, Entrypoint: image.entrypoint, WorkingDir: "/", Labels: image.labels },
    rootfs: { type: "layers", diff_ids: image.layers.map((l) => l.diffId) },
    history: image.layers.map((l) => ({ created: CREATED, created_by: l.createdBy })),
  }));
  const layers = image.layers.map((l) => add(TYPES.layer, l.gzipped));
  const manifest = add(TYPES.manifest, json({ schemaVersion: 2, mediaType: TYPES.manifest, config, layers, annotations: image.labels }));
  const tag = image.name.slice(image.name.lastIndexOf(":") + 1);
  const names = { "io.containerd.image.name": `${DEFAULT_REGISTRY}/${image.name}`, "org.opencontainers.image.ref.name": tag };
  const file = (path: string, body: Buffer): TarEntry => ({ path, type: "file", mode: 0o644, body });
  const archive = encodeTar([
    file("oci-layout", json({ imageLayoutVersion: "1.0.0" })),
    file("index.json", json({ schemaVersion: 2, mediaType: TYPES.index, manifests: [{ ...manifest, platform, annotations: names }] })),
    file("manifest.json", json([{ Config: blobPath(config.digest), RepoTags: [image.name], Layers: layers.map((l) => blobPath(l.digest)) }])),
    ...[...blobs].map(([hex, body]) => file(blobPath(`sha256:${hex}`), body)),
  ]);
  return { archive, digest: manifest.digest };
}

const blobPath = (digest: string): string => `blobs/${digest.replace(":", "/")}`;
const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
export const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
