// Owns the lab's images on disk: a list of names, each a local command or an unpacked root with its configuration.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { newUuid } from "@ambit/runtime";
import { normalizeImageName } from "../plan/image-name.ts";
import { resolveInRoot } from "../paths.ts";
import type { ImageUser } from "../plan/privileges.ts";
import { unpackArchive } from "./archive.ts";

export interface Image {
  /** Normal form, e.g. docker.io/library/web:latest. */
  readonly name: string;
  /** sha256:… of what it is. */
  readonly id: string;
  /** Folder under the image folder; absent for a local command, whose root is the machine's. */
  readonly root?: string;
  readonly entrypoint: readonly string[];
  readonly cmd: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly workingDir: string;
  readonly user: string;
  /** Folders of the machine that a local command needs, shown again where a volume of the pod would hide them. */
  readonly keep?: readonly string[];
}
export interface ImageIndex { readonly images: Readonly<Record<string, Image>> }

const INDEX = "index.json";

/** Every image of the folder; an index that cannot be read is an error, not an empty list. */
export function readImages(dir: string): ImageIndex {
  const path = join(dir, INDEX);
  if (!existsSync(path)) return { images: {} };
  const parsed = JSON.parse(readFileSync(path, "utf8")) as Partial<ImageIndex>;
  return { images: parsed.images ?? {} };
}

/** The image of this name, or why there is none, in words for the pod's status. */
export function findImage(dir: string, name: string): Image | { readonly problem: string; readonly invalid: boolean } {
  const normal = normalizeImageName(name);
  if ("problem" in normal) return { problem: normal.problem, invalid: true };
  const found = readImages(dir).images[normal.name];
  return found ?? { problem: `no image "${name}" in this lab: add it with "ambit lab image add ${name} --command …" or "ambit lab image load FILE"`, invalid: false };
}

/** Makes (or replaces) an image that is a local command: its root is the machine's own, as a throw-away layer. */
export function addCommandImage(dir: string, input: { readonly name: string; readonly command: readonly string[]; readonly env?: Readonly<Record<string, string>>; readonly workingDir?: string; readonly keep?: readonly string[] }): Image {
  const normal = normalizeImageName(input.name);
  if ("problem" in normal) throw new Error(normal.problem);
  const body = { entrypoint: [...input.command], cmd: [], env: { ...input.env }, workingDir: input.workingDir ?? "/", user: "", ...(input.keep === undefined ? {} : { keep: input.keep }) };
  const id = `sha256:${createHash("sha256").update(JSON.stringify(body)).digest("hex")}`;
  const image: Image = { name: normal.name, id, ...body };
  record(dir, [image]);
  return image;
}

/** Unpacks an OCI layout or `docker save` archive and records the names in it. Throws with the file, the entry and the reason. */
export async function loadImageArchive(dir: string, file: string): Promise<Image[]> {
  const roots = join(dir, "roots");
  mkdirSync(roots, { recursive: true });
  const scratch = join(dir, `.load-${newUuid()}`);
  mkdirSync(scratch);
  try {
    const unpacked = await unpackArchive(file, scratch);
    const images: Image[] = [];
    for (const u of unpacked) {
      const root = join("roots", u.id.replace(":", "-"));
      if (!existsSync(join(dir, root))) renameSync(u.root, join(dir, root));
      for (const name of u.names) {
        const normal = normalizeImageName(name);
        if ("problem" in normal) throw new Error(`${file}: ${normal.problem}`);
        images.push({ name: normal.name, id: u.id, root, ...u.config });
      }
    }
    if (images.length === 0) throw new Error(`${file}: no image in it has a name: save it with a name:tag`);
    record(dir, images);
    return images;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** Removes a name, and its root when no other name uses it. Returns whether it was there. */
export function removeImage(dir: string, name: string): boolean {
  const normal = normalizeImageName(name);
  if ("problem" in normal) throw new Error(normal.problem);
  const images = { ...readImages(dir).images };
  const image = images[normal.name];
  if (image === undefined) return false;
  delete images[normal.name];
  write(dir, images);
  if (image.root !== undefined && !Object.values(images).some((i) => i.root === image.root)) rmSync(join(dir, image.root), { recursive: true, force: true });
  return true;
}

function record(dir: string, added: readonly Image[]): void {
  mkdirSync(dir, { recursive: true });
  write(dir, { ...readImages(dir).images, ...Object.fromEntries(added.map((i) => [i.name, i])) });
}
function write(dir: string, images: Readonly<Record<string, Image>>): void {
  const next = join(dir, `${INDEX}.${newUuid()}`);
  writeFileSync(next, `${JSON.stringify({ images }, null, 2)}\n`);
  renameSync(next, join(dir, INDEX));
}

/** Who the image's User is, from the passwd and group files of its root (`/` for a local command). Throws when there is no such user. */
export function imageUser(image: Image, root: string): ImageUser {
  const [user = "", group] = image.user.split(":", 2);
  if (user === "" && group === undefined) return { uid: 0, gid: 0, groups: [] };
  const passwd = lines(root, "/etc/passwd");
  const entry = passwd.find((f) => f[0] === user || f[2] === user);
  const uid = entry !== undefined ? Number(entry[2]) : /^\d+$/.test(user) ? Number(user) : undefined;
  if (uid === undefined) throw new Error(`unable to find user ${user}: no matching entries in the image's /etc/passwd`);
  const groups = lines(root, "/etc/group");
  const named = group === undefined ? undefined : (groups.find((f) => f[0] === group)?.[2] ?? group);
  if (named !== undefined && !/^\d+$/.test(named)) throw new Error(`unable to find group ${group}: no matching entries in the image's /etc/group`);
  const member = entry === undefined ? [] : groups.filter((f) => (f[3] ?? "").split(",").includes(entry[0] ?? "")).map((f) => Number(f[2]));
  return { uid, gid: named !== undefined ? Number(named) : Number(entry?.[3] ?? 0), groups: member };
}

/** Home folder of a user id, as runc would set HOME. */
export function homeOf(root: string, uid: number): string {
  return lines(root, "/etc/passwd").find((f) => Number(f[2]) === uid)?.[5] ?? (uid === 0 ? "/root" : "/");
}

function lines(root: string, path: string): string[][] {
  try {
    return readFileSync(resolveInRoot(root, path), "utf8").split("\n").map((l) => l.split(":"));
  } catch {
    return []; // an image without such a file has no named users
  }
}
