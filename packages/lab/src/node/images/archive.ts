// Owns image archives: finds the images in an OCI layout or `docker save` tar and unpacks each into a root folder.
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream, existsSync, mkdirSync, openSync, readFileSync, readSync, closeSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { Readable, type Transform } from "node:stream";
import { finished } from "node:stream/promises";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { applyLayer, type UnpackBudget } from "./layer.ts";
import { readTar } from "./tar.ts";

export interface ImageConfig { readonly entrypoint: readonly string[]; readonly cmd: readonly string[]; readonly env: Readonly<Record<string, string>>; readonly workingDir: string; readonly user: string }
export interface UnpackedImage { readonly id: string; readonly names: readonly string[]; readonly root: string; readonly config: ImageConfig }

/** Everything one archive may unpack to; far above any image for a lab, far below a disk. */
const UNPACKED_MAX_BYTES = 20 * 1024 ** 3;
const ENTRIES_MAX = 2_000_000;
const JSON_MAX_BYTES = 4 * 1024 * 1024;
/** Files of an archive that mean something; anything else in it is not looked at. */
const MEMBER = /^(?:index\.json|manifest\.json|oci-layout|blobs\/sha256\/[0-9a-f]{64}|[0-9a-f]{64}(?:\.json|\.tar|\/layer\.tar))$/;
const DIGEST = /^sha256:([0-9a-f]{64})$/;

/** Throws with the archive's name and what is wrong; `scratch` is the caller's to remove. */
export async function unpackArchive(file: string, scratch: string): Promise<UnpackedImage[]> {
  const budget: UnpackBudget = { bytes: UNPACKED_MAX_BYTES, entries: ENTRIES_MAX };
  try {
    const members = join(scratch, "members");
    mkdirSync(members);
    await extractMembers(file, members, budget);
    const found = existsSync(join(members, "index.json")) ? ociImages(members) : dockerImages(members);
    const out: UnpackedImage[] = [];
    for (const [i, image] of found.entries()) {
      const root = join(scratch, `root-${i}`);
      mkdirSync(root, { mode: 0o755 });
      for (const layer of image.layers) await applyLayer(root, readTar(await decompressed(layer)), budget);
      out.push({ id: image.id, names: image.names, root, config: image.config });
    }
    return out;
  } catch (error) {
    throw new Error(`${file}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}

async function extractMembers(file: string, to: string, budget: UnpackBudget): Promise<void> {
  for await (const entry of readTar(await decompressed(file))) {
    if (--budget.entries < 0) throw new Error(`more than ${ENTRIES_MAX} entries`);
    const name = entry.path.replace(/^\.\//, "");
    // Symlinks between layers of `docker save` are links to a layer that is there under its own name too.
    if (entry.type !== "file" || !MEMBER.test(name)) continue;
    budget.bytes -= entry.size;
    if (budget.bytes < 0) throw new Error(`larger than ${UNPACKED_MAX_BYTES} bytes`);
    const path = join(to, name);
    mkdirSync(dirname(path), { recursive: true });
    const out = createWriteStream(path, { flags: "w", mode: 0o600 });
    Readable.from(entry.content).pipe(out);
    await finished(out);
  }
}

interface FoundImage { readonly id: string; readonly names: string[]; readonly layers: string[]; readonly config: ImageConfig }

function ociImages(dir: string): FoundImage[] {
  const names = dockerNames(dir);
  const index = json(join(dir, "index.json"), "index.json");
  const out: FoundImage[] = [];
  const walk = (descriptors: unknown, inherited: string | undefined, depth: number): void => {
    for (const d of list(descriptors)) {
      const digest = text(d["digest"]);
      const annotations = record(d["annotations"]) ?? {};
      const name = text(annotations["io.containerd.image.name"]) ?? text(annotations["org.opencontainers.image.ref.name"]) ?? inherited;
      const body = json(blob(dir, digest), `blob ${digest}`);
      if (Array.isArray(body["manifests"])) {
        if (depth > 2) throw new Error("indexes nested too deep");
        walk(list(body["manifests"]).filter(isOurPlatform), name, depth + 1);
        continue;
      }
      const config = text(record(body["config"])?.["digest"]);
      const layers = list(body["layers"]).map((l) => blob(dir, text(l["digest"])));
      const known = config === undefined ? undefined : names.get(config);
      out.push({ id: config ?? "", names: known ?? (name === undefined ? [] : [name]), layers, config: imageConfig(json(blob(dir, config), "image config")) });
    }
  };
  walk(index["manifests"], undefined, 0);
  return out;
}

/** RepoTags by config digest, for archives that carry both forms. */
function dockerNames(dir: string): Map<string, string[]> {
  const out = new Map<string, string[]>();
  if (!existsSync(join(dir, "manifest.json"))) return out;
  for (const m of list(json(join(dir, "manifest.json"), "manifest.json", true))) {
    const hex = /([0-9a-f]{64})(?:\.json)?$/.exec(text(m["Config"]) ?? "")?.[1];
    const tags = Array.isArray(m["RepoTags"]) ? m["RepoTags"].filter((t): t is string => typeof t === "string") : [];
    if (hex !== undefined && tags.length > 0) out.set(`sha256:${hex}`, tags);
  }
  return out;
}

function dockerImages(dir: string): FoundImage[] {
  if (!existsSync(join(dir, "manifest.json"))) throw new Error("neither an OCI image layout (index.json) nor a docker archive (manifest.json)");
  return list(json(join(dir, "manifest.json"), "manifest.json", true)).map((m) => {
    const configPath = member(dir, text(m["Config"]));
    const layers = Array.isArray(m["Layers"]) ? m["Layers"].map((l) => member(dir, text(l))) : [];
    const id = `sha256:${createHash("sha256").update(readFileSync(configPath)).digest("hex")}`;
    const names = Array.isArray(m["RepoTags"]) ? m["RepoTags"].filter((t): t is string => typeof t === "string") : [];
    return { id, names, layers, config: imageConfig(json(configPath, "image config")) };
  });
}

const ARCHITECTURE: Readonly<Record<string, string>> = { x64: "amd64", arm64: "arm64" };
const isOurPlatform = (d: Record<string, unknown>): boolean => {
  const platform = record(d["platform"]);
  return platform === undefined || (platform["os"] === "linux" && platform["architecture"] === ARCHITECTURE[process.arch]);
};

function imageConfig(root: Record<string, unknown>): ImageConfig {
  const c = record(root["config"]) ?? {};
  const strings = (v: unknown): string[] => (Array.isArray(v) ? v.filter((s): s is string => typeof s === "string") : []);
  const env = Object.fromEntries(strings(c["Env"]).map((e) => { const at = e.indexOf("="); return at < 0 ? [e, ""] : [e.slice(0, at), e.slice(at + 1)]; }));
  return { entrypoint: strings(c["Entrypoint"]), cmd: strings(c["Cmd"]), env, workingDir: text(c["WorkingDir"]) || "/", user: text(c["User"]) ?? "" };
}

/** A blob's file after its content was checked against its digest. */
function blob(dir: string, digest: string | undefined): string {
  const hex = DIGEST.exec(digest ?? "")?.[1];
  if (hex === undefined) throw new Error(`"${digest}" is not a sha256 digest`);
  const path = join(dir, "blobs/sha256", hex);
  if (!existsSync(path)) throw new Error(`blob ${digest} is not in the archive`);
  if (hashFile(path) !== hex) throw new Error(`blob ${digest} does not have that digest`);
  return path;
}

function member(dir: string, name: string | undefined): string {
  if (name === undefined || !MEMBER.test(name) || !existsSync(join(dir, name))) throw new Error(`manifest.json names "${name}", which is not in the archive`);
  return join(dir, name);
}

function hashFile(path: string): string {
  const hash = createHash("sha256");
  const buffer = Buffer.alloc(1024 * 1024);
  const fd = openSync(path, "r");
  try {
    for (let n = readSync(fd, buffer); n > 0; n = readSync(fd, buffer)) hash.update(buffer.subarray(0, n));
  } finally {
    closeSync(fd);
  }
  return hash.digest("hex");
}

/** Opens a tar that may be plain, gzip or zstd, by its first bytes. */
async function decompressed(path: string): Promise<AsyncIterable<Uint8Array>> {
  const head = Buffer.alloc(4);
  const fd = openSync(path, "r");
  readSync(fd, head);
  closeSync(fd);
  const raw = createReadStream(path);
  const unzip: Transform | undefined = head[0] === 0x1f && head[1] === 0x8b ? createGunzip() : head.readUInt32LE() === 0xfd2fb528 ? createZstdDecompress() : undefined;
  if (unzip === undefined) return raw;
  raw.on("error", (error) => unzip.destroy(error));
  return raw.pipe(unzip);
}

function json(path: string, what: string, array = false): Record<string, unknown> {
  if (statSync(path).size > JSON_MAX_BYTES) throw new Error(`${what} is larger than ${JSON_MAX_BYTES} bytes`);
  let parsed: unknown;
  try {
    parsed = JSON.parse(readFileSync(path, "utf8"));
  } catch {
    throw new Error(`${what} is not JSON`);
  }
  if (array ? !Array.isArray(parsed) : record(parsed) === undefined) throw new Error(`${what} is not ${array ? "a list" : "an object"}`);
  return parsed as Record<string, unknown>;
}
const record = (v: unknown): Record<string, unknown> | undefined => (typeof v === "object" && v !== null && !Array.isArray(v) ? (v as Record<string, unknown>) : undefined);
const list = (v: unknown): Record<string, unknown>[] => (Array.isArray(v) ? v.map((e) => record(e) ?? {}) : []);
const text = (v: unknown): string | undefined => (typeof v === "string" ? v : undefined);
