import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync, lstatSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync, mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { seededRandom } from "@ambit/runtime";
import { resolveInRoot } from "../paths.ts";
import { applyLayer } from "./layer.ts";
import { addCommandImage, findImage, imageUser, loadImageArchive, readImages, removeImage } from "./store.ts";
import { readTar, TarError } from "./tar.ts";

interface F { readonly path: string; readonly type?: string; readonly body?: string; readonly link?: string; readonly mode?: number }

function tar(files: readonly F[]): Buffer {
  const parts: Buffer[] = [];
  for (const f of files) {
    const body = Buffer.from(f.body ?? "");
    const h = Buffer.alloc(512);
    h.write(f.path.slice(0, 100), 0);
    h.write((f.mode ?? 0o644).toString(8).padStart(7, "0"), 100);
    h.write("0000000", 108);
    h.write("0000000", 116);
    h.write(body.length.toString(8).padStart(11, "0"), 124);
    h.write("00000000000", 136);
    h.write(f.type ?? "0", 156);
    h.write(f.link ?? "", 157);
    h.write("ustar\x0000", 257, "latin1");
    h.fill(0x20, 148, 156);
    h.write(`${h.reduce((a, b) => a + b, 0).toString(8).padStart(6, "0")}\0 `, 148);
    parts.push(h, body, Buffer.alloc((512 - (body.length % 512)) % 512));
  }
  return Buffer.concat([...parts, Buffer.alloc(1024)]);
}
async function* chunks(b: Uint8Array, size = 700): AsyncGenerator<Uint8Array> {
  for (let i = 0; i < b.length; i += size) yield b.subarray(i, i + size);
}
const names = async (b: Uint8Array) => { const out: string[] = []; for await (const e of readTar(chunks(b))) { let text = ""; for await (const c of e.content) text += c.toString(); out.push(`${e.type} ${e.path}${text === "" ? "" : `=${text}`}${e.linkPath === "" ? "" : ` -> ${e.linkPath}`}`); } return out; };
const pax = (record: string): F => { const make = (n: number) => `${n} ${record}\n`; let n = record.length + 3; while (make(n).length !== n) n++; return { path: "pax", type: "x", body: make(n) }; };

describe("tar", () => {
  it("files, folders, links", async () => assert.deepEqual(await names(tar([{ path: "a/", type: "5" }, { path: "a/b", body: "hello" }, { path: "c", type: "2", link: "a/b" }, { path: "d", type: "1", link: "a/b" }])), ["directory a/", "file a/b=hello", "symlink c -> a/b", "hardlink d -> a/b"]));
  it("long names of pax and of GNU", async () => {
    const long = `${"x".repeat(120)}/y`;
    assert.deepEqual(await names(tar([pax(`path=${long}`), { path: "short", body: "1" }, { path: "././@LongLink", type: "L", body: `${long}\0` }, { path: "short", body: "2" }])), [`file ${long}=1`, `file ${long}=2`]);
  });
  it("a file larger than a chunk, skipped or read", async () => { const b = tar([{ path: "big", body: "z".repeat(5000) }, { path: "after", body: "1" }]); const seen: string[] = []; for await (const e of readTar(chunks(b))) seen.push(e.path); assert.deepEqual(seen, ["big", "after"]); });
  for (const [name, bytes, expected] of [
    ["bytes that are not tar", Buffer.alloc(512, 7), /checksum/], ["an archive that ends within a file", tar([{ path: "a", body: "x".repeat(600) }]).subarray(0, 900), /ends within/],
    ["a malformed pax record", tar([{ path: "p", type: "x", body: "99 a=b\n" }, { path: "a" }]), /malformed pax/], ["an unknown type", tar([{ path: "a", type: "Z" }]), /unknown type/],
  ] as const) it(`refuses ${name}`, async () => { await assert.rejects(names(bytes), (e: Error) => e instanceof TarError && expected.test(e.message)); });
  it("any damage is an error or an entry, never anything else", async () => {
    const random = seededRandom(7);
    const good = tar([pax("path=long/name"), { path: "a", body: "hello" }, { path: "b", type: "2", link: "a" }, { path: "c", body: "x".repeat(700) }]);
    for (let i = 0; i < 400; i++) {
      const b = Buffer.from(good);
      for (let k = 0; k < 3; k++) b[Math.floor(random() * b.length)] = Math.floor(random() * 256);
      await names(b.subarray(0, Math.floor(random() * b.length) + 1)).catch((e: unknown) => assert.ok(e instanceof TarError, String(e)));
    }
  });
});

describe("unpacking a layer", () => {
  let dir: string;
  beforeEach(() => { dir = mkdtempSync(join(tmpdir(), "ambit-layer-")); mkdirSync(join(dir, "root")); writeFileSync(join(dir, "outside"), "safe"); });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));
  const apply = (files: readonly F[], bytes = 1e9) => applyLayer(join(dir, "root"), readTar(chunks(tar(files))), { bytes, entries: 1000 });

  it("modes, links and later entries that win", async () => {
    await apply([{ path: "bin/", type: "5", mode: 0o755 }, { path: "bin/x", body: "1", mode: 0o755 }, { path: "bin/y", type: "1", link: "bin/x" }, { path: "bin/z", type: "2", link: "x" }]);
    await apply([{ path: "bin/x", body: "2", mode: 0o600 }]);
    const root = join(dir, "root/bin");
    assert.deepEqual(["x", "y", "z"].map((n) => readFileSync(join(root, n), "utf8")), ["2", "1", "2"]);
    assert.equal(statSync(join(root, "x")).mode & 0o777, 0o600);
  });
  it("whiteouts remove, opaque folders start empty", async () => {
    await apply([{ path: "a/b", body: "1" }, { path: "a/c", body: "1" }, { path: "d/e", body: "1" }]);
    await apply([{ path: "a/.wh.b" }, { path: "d/.wh..wh..opq" }, { path: "d/f", body: "1" }]);
    assert.deepEqual([readdirSync(join(dir, "root/a")), readdirSync(join(dir, "root/d"))], [["c"], ["f"]]);
  });
  it("a folder that is a link inside the image is followed inside it only", async () => {
    await apply([{ path: "usr/lib/", type: "5" }, { path: "lib", type: "2", link: "/usr/lib" }, { path: "lib/x", body: "1" }]);
    assert.ok(existsSync(join(dir, "root/usr/lib/x")));
  });
  const attacks: [string, readonly F[], RegExp | undefined][] = [
    [".. in a name", [{ path: "../outside", body: "evil" }], /leads out/],
    ["an absolute name lands inside", [{ path: "/outside", body: "evil" }], undefined],
    ["a link to the outside, then a file through it", [{ path: "l", type: "2", link: "../.." }, { path: "l/outside", body: "evil" }], undefined],
    ["an absolute link to the outside, then a file through it", [{ path: "l", type: "2", link: "@DIR@" }, { path: "l/outside", body: "evil" }], undefined],
    ["a link, then a file in its place", [{ path: "l", type: "2", link: "../outside" }, { path: "l", body: "evil" }], undefined],
    ["a hard link to the outside", [{ path: "h", type: "1", link: "../outside" }], /leads out/],
    ["a hard link through a link", [{ path: "l", type: "2", link: ".." }, { path: "h", type: "1", link: "l/outside" }], /not a file of the image/],
    ["a whiteout of the outside", [{ path: "l", type: "2", link: ".." }, { path: "l/.wh.outside" }], undefined],
    ["a whiteout of ..", [{ path: ".wh..." }], /whiteout of nothing/],
    ["a whiteout of the folder itself", [{ path: "a/.wh..", body: "" }], /whiteout of nothing/],
    ["a loop of links", [{ path: "a", type: "2", link: "b" }, { path: "b", type: "2", link: "a" }, { path: "a/x", body: "1" }], /too many symbolic links/],
  ];
  for (const [name, files, expected] of attacks) {
    it(name, async () => {
      const work = apply(files.map((f) => (f.link === "@DIR@" ? { ...f, link: dir } : f)));
      if (expected === undefined) await work;
      else await assert.rejects(work, expected);
      assert.equal(readFileSync(join(dir, "outside"), "utf8"), "safe");
      assert.deepEqual(readdirSync(dir).sort(), ["outside", "root"]);
    });
  }
  it("stops at the size bound", async () => { await assert.rejects(apply([{ path: "a", body: "x".repeat(2000) }], 1000), /larger than its bound/); });
  it("device files are left out", async () => { await apply([{ path: "dev/null", type: "3" }]); assert.equal(lstatSync(join(dir, "root/dev/null"), { throwIfNoEntry: false }), undefined); });
});

describe("paths inside another root", () => {
  it("links and .. stay inside", () => {
    const dir = mkdtempSync(join(tmpdir(), "ambit-root-"));
    try {
      mkdirSync(join(dir, "run"));
      mkdirSync(join(dir, "var"));
      symlinkSync("/run", join(dir, "var/run"));
      symlinkSync("../../../../etc", join(dir, "up"));
      assert.equal(resolveInRoot(dir, "/var/run/netns"), join(dir, "run/netns"));
      assert.equal(resolveInRoot(dir, "/up/passwd"), join(dir, "etc/passwd"));
      assert.equal(resolveInRoot(dir, "../../x/./y"), join(dir, "x/y"));
    } finally {
      rmSync(dir, { recursive: true });
    }
  });
});

describe("the image store", () => {
  let dir: string;
  beforeEach(() => { dir = mkdtempSync(join(tmpdir(), "ambit-images-")); });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));
  const sha = (b: Uint8Array) => createHash("sha256").update(b).digest("hex");
  const config = Buffer.from(JSON.stringify({ config: { Entrypoint: ["/app"], Cmd: ["-v"], Env: ["A=1", "B=x=y"], WorkingDir: "/w", User: "web:staff" } }));
  const layer = gzipSync(tar([{ path: "etc/passwd", body: "web:x:7:8::/home/web:/bin/sh\n" }, { path: "etc/group", body: "staff:x:50:web\n" }, { path: "app", body: "x", mode: 0o755 }]));

  const oci = (change: Partial<Record<"layerBytes" | "name", string>> = {}) => {
    const manifest = Buffer.from(JSON.stringify({ config: { digest: `sha256:${sha(config)}` }, layers: [{ digest: `sha256:${sha(layer)}` }] }));
    const index = JSON.stringify({ manifests: [{ digest: `sha256:${sha(manifest)}`, annotations: { "io.containerd.image.name": change.name ?? "example.com/web:1" } }] });
    const files = [{ path: "index.json", body: index }, { path: `blobs/sha256/${sha(manifest)}`, body: manifest.toString("latin1") }, { path: `blobs/sha256/${sha(config)}`, body: config.toString("latin1") }];
    const head = tar(files).subarray(0, -1024);
    const blob = change.layerBytes === undefined ? layer : Buffer.from(change.layerBytes);
    const last = Buffer.concat([tar([{ path: `blobs/sha256/${sha(layer)}`, body: "x".repeat(blob.length) }])]);
    blob.copy(last, 512);
    const path = join(dir, "image.tar");
    writeFileSync(path, Buffer.concat([head, last]));
    return path;
  };

  it("a local command", () => {
    addCommandImage(dir, { name: "web", command: ["node", "x.ts"], env: { A: "1" } });
    const found = findImage(dir, "docker.io/library/web:latest");
    assert.ok(!("problem" in found));
    assert.deepEqual([found.entrypoint, found.env, found.root], [["node", "x.ts"], { A: "1" }, undefined]);
  });
  it("an unknown image says how to add it", () => {
    const found = findImage(dir, "nginx");
    assert.equal("problem" in found && found.problem, 'no image "nginx" in this lab: add it with "ambit lab image add nginx --command …" or "ambit lab image load FILE"');
  });
  it("an OCI layout: root, configuration, user", async () => {
    const [image] = await loadImageArchive(dir, oci());
    assert.ok(image !== undefined && image.root !== undefined);
    assert.deepEqual([image.name, image.entrypoint, image.cmd, image.env, image.workingDir], ["example.com/web:1", ["/app"], ["-v"], { A: "1", B: "x=y" }, "/w"]);
    assert.deepEqual(imageUser(image, join(dir, image.root)), { uid: 7, gid: 50, groups: [50] });
    assert.equal(readFileSync(join(dir, image.root, "app"), "utf8"), "x");
    assert.equal(removeImage(dir, "example.com/web:1"), true);
    assert.deepEqual([readImages(dir).images, readdirSync(join(dir, "roots"))], [{}, []]);
  });
  it("a docker archive", async () => {
    const id = sha(config);
    const path = join(dir, "d.tar");
    const plain = tar([{ path: "hello", body: "1" }]);
    writeFileSync(path, tar([{ path: "manifest.json", body: JSON.stringify([{ Config: `${id}.json`, RepoTags: ["web:2", "web:3"], Layers: [`${"a".repeat(64)}/layer.tar`] }]) }, { path: `${id}.json`, body: config.toString() }, { path: `${"a".repeat(64)}/layer.tar`, body: plain.toString("latin1") }]));
    assert.deepEqual((await loadImageArchive(dir, path)).map((i) => i.name), ["docker.io/library/web:2", "docker.io/library/web:3"]);
  });
  const bad: [string, () => string, RegExp][] = [
    ["a blob whose content is not its digest's", () => oci({ layerBytes: "tampered" }), /does not have that digest/],
    ["a name that is none", () => oci({ name: "BAD NAME" }), /not an image name/],
    ["a file that is no archive", () => { writeFileSync(join(dir, "x"), "hello"); return join(dir, "x"); }, /ends within an entry/],
    ["an archive without images", () => { writeFileSync(join(dir, "x"), tar([{ path: "readme", body: "1" }])); return join(dir, "x"); }, /neither an OCI image layout/],
    ["a manifest that names a file outside", () => { writeFileSync(join(dir, "x"), tar([{ path: "manifest.json", body: JSON.stringify([{ Config: "../../etc/passwd", RepoTags: ["a"], Layers: [] }]) }])); return join(dir, "x"); }, /not in the archive/],
  ];
  for (const [name, make, expected] of bad) {
    it(`refuses ${name}, and leaves nothing`, async () => {
      const path = make();
      await assert.rejects(loadImageArchive(dir, path), expected);
      assert.deepEqual(readImages(dir).images, {});
      assert.equal(readdirSync(dir).some((n) => n.startsWith(".load")), false);
    });
  }
});
