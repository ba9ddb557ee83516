import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { findImage, loadImageArchive } from "@ambit/lab/images";
import { encodeArchive, makeLayer, sha256, type ImageSpec } from "./oci.ts";
import { encodeTar, type TarEntry } from "./tar.ts";

const file = (path: string, text: string, mode = 0o644): TarEntry => ({ path, type: "file", mode, body: Buffer.from(text) });
const LONG = `${"folder/".repeat(20)}${"n".repeat(90)}`;

describe("image archives", () => {
  let dir: string;
  beforeEach(() => { dir = mkdtempSync(join(tmpdir(), "ambit-image-")); });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));
  /** As GNU tar reads it. */
  const listing = (bytes: Buffer): string[] => {
    writeFileSync(join(dir, "a.tar"), bytes);
    return execFileSync("tar", ["--utc", "--numeric-owner", "-tvf", join(dir, "a.tar")], { encoding: "utf8" }).trim().split("\n").map((l) => l.replace(/ +/g, " "));
  };

  describe("tar", () => {
    it("sorted, root's, of 1970, with the folders that paths pass through", () => assert.deepEqual(
      listing(encodeTar([file("usr/bin/x", "hello", 0o755), { path: "bin", type: "symlink", target: "usr/bin" }, { path: "tmp", type: "directory", mode: 0o1777 }, file("usr-local", "")])),
      [
        "lrwxrwxrwx 0/0 0 1970-01-01 00:00 bin -> usr/bin", "drwxrwxrwt 0/0 0 1970-01-01 00:00 tmp/", "drwxr-xr-x 0/0 0 1970-01-01 00:00 usr/",
        "-rw-r--r-- 0/0 0 1970-01-01 00:00 usr-local", "drwxr-xr-x 0/0 0 1970-01-01 00:00 usr/bin/", "-rwxr-xr-x 0/0 5 1970-01-01 00:00 usr/bin/x",
      ]));
    it("long paths are cut at a slash", () => assert.match(listing(encodeTar([file(LONG, "x")])).at(-1) ?? "", new RegExp(`1 1970-01-01 00:00 ${LONG}$`)));
    it("contents survive, whatever their length", () => {
      for (const length of [0, 1, 511, 512, 513]) {
        writeFileSync(join(dir, "b.tar"), encodeTar([file("f", "z".repeat(length)), file("g", "end")]));
        assert.equal(execFileSync("tar", ["-xOf", join(dir, "b.tar"), "f", "g"], { encoding: "utf8" }), `${"z".repeat(length)}end`);
      }
    });
    it("the order of entries does not matter", () => {
      const entries = [file("b", "1"), file("a/c", "2"), file("a/b", "3")];
      assert.deepEqual(encodeTar(entries), encodeTar(entries.toReversed()));
    });
    for (const [name, entries, expected] of [
      ["a path that is there twice", [file("a", "1"), file("a", "2")], /there twice/], ["an absolute path", [file("/a", "1")], /not a path/], ["a path that leaves", [file("a/../../b", "1")], /not a path/],
      ["a file below a file", [file("a", "1"), file("a/b", "1")], /no folder/], ["a file below a link", [{ path: "a", type: "symlink", target: "/etc" }, file("a/b", "1")], /no folder/],
      ["a name that ustar has no room for", [file("n".repeat(101), "1")], /too long/], ["a target that it has no room for", [{ path: "a", type: "symlink", target: "t".repeat(101) }], /too long/],
    ] as const) it(`refuses ${name}`, () => assert.throws(() => encodeTar(entries), expected));
  });

  const spec = (): ImageSpec => ({
    name: "ambit/thing:1.2", architecture: "amd64", user: "1337:1337", env: ["A=b"], entrypoint: ["/usr/bin/thing"], labels: { "org.opencontainers.image.title": "thing" },
    layers: [makeLayer([file("usr/bin/thing", "#!", 0o755)], "base"), makeLayer([file("app/main", "x".repeat(4000))], "thing")],
  });

  it("the same twice, octet for octet", () => assert.deepEqual(encodeArchive(spec()), encodeArchive(spec())));
  it("another content is another digest", () => assert.notEqual(encodeArchive(spec()).digest, encodeArchive({ ...spec(), layers: spec().layers.slice(0, 1) }).digest));

  it("every blob has its digest, and both indexes name the same blobs", () => {
    const { archive, digest } = encodeArchive(spec());
    writeFileSync(join(dir, "i.tar"), archive);
    execFileSync("tar", ["-xf", join(dir, "i.tar"), "-C", dir]);
    const json = (path: string) => JSON.parse(readFileSync(join(dir, path), "utf8")) as Record<string, never> & Record<string, unknown>;
    const blob = (d: string) => { const bytes = readFileSync(join(dir, "blobs", d.replace(":", "/"))); assert.equal(`sha256:${sha256(bytes)}`, d); return bytes; };
    interface Descriptor { digest: string; size: number; annotations: Record<string, string>; platform: unknown }
    const [entry] = (json("index.json") as unknown as { manifests: [Descriptor] }).manifests;
    assert.equal(entry.digest, digest);
    assert.deepEqual(entry.annotations, { "io.containerd.image.name": "docker.io/ambit/thing:1.2", "org.opencontainers.image.ref.name": "1.2" });
    assert.deepEqual(entry.platform, { architecture: "amd64", os: "linux" });
    const manifest = JSON.parse(blob(entry.digest).toString()) as { config: Descriptor; layers: Descriptor[] };
    const config = JSON.parse(blob(manifest.config.digest).toString()) as { created: string; config: Record<string, unknown>; rootfs: { diff_ids: string[] } };
    assert.deepEqual(manifest.layers.map((l) => `sha256:${sha256(gunzipSync(blob(l.digest)))}`), config.rootfs.diff_ids);
    for (const d of [entry, manifest.config, ...manifest.layers]) assert.equal(blob(d.digest).length, d.size);
    assert.deepEqual([config.created, config.config["User"], config.config["Labels"]], ["1970-01-01T00:00:00Z", "1337:1337", { "org.opencontainers.image.title": "thing" }]);
    const path = (d: Descriptor) => `blobs/${d.digest.replace(":", "/")}`;
    assert.deepEqual(json("manifest.json"), [{ Config: path(manifest.config), RepoTags: ["ambit/thing:1.2"], Layers: manifest.layers.map(path) }]);
  });

  it("the lab's image store unpacks it, under its name", async () => {
    writeFileSync(join(dir, "i.tar"), encodeArchive(spec()).archive);
    const [image] = await loadImageArchive(dir, join(dir, "i.tar"));
    assert.ok(image?.root !== undefined && !("problem" in findImage(dir, "ambit/thing:1.2")));
    assert.deepEqual([image.user, image.entrypoint, image.env], ["1337:1337", ["/usr/bin/thing"], { A: "b" }]);
    assert.equal(readFileSync(join(dir, image.root, "app/main"), "utf8"), "x".repeat(4000));
  });
});
