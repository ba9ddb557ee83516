// Images of the lab: local commands, archives of both kinds with a root of their own, and archives that mean harm.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { KINDS, type Pod } from "@ambit/kube";
import { ambit } from "./cli.fixture.ts";
import { TestLab } from "./lab.fixture.ts";

/** Says who and where it is, in an image that has nothing but this program. */
const PROGRAM = `
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(int argc, char **argv) {
  char cwd[256]; FILE *f = fopen("/greeting", "r"); char line[64] = "";
  if (f) fgets(line, sizeof line, f);
  printf("%s%s uid=%d cwd=%s FROM=%s shell=%d arg=%s\\n", line, argv[0], getuid(), getcwd(cwd, sizeof cwd), getenv("FROM"), access("/bin/sh", F_OK) == 0, argc > 1 ? argv[1] : "");
  return 0;
}`;

interface Entry { readonly path: string; readonly body?: Buffer | string; readonly type?: string; readonly link?: string; readonly mode?: number; readonly size?: number }

/** A tar as written by hand: sizes may lie. */
function tar(entries: readonly Entry[]): Buffer {
  const parts = entries.flatMap((e) => {
    const body = Buffer.from(e.body ?? "");
    const header = Buffer.alloc(512);
    header.write(e.path, 0);
    header.write(`${(e.mode ?? 0o755).toString(8).padStart(7, "0")}\0${"0".repeat(7)}\0${"0".repeat(7)}\0`, 100);
    header.write(`${(e.size ?? body.length).toString(8).padStart(11, "0")}\0${"0".repeat(11)}\0`, 124);
    header.write(e.type ?? "0", 156);
    header.write(e.link ?? "", 157);
    header.write("ustar\x0000", 257, "latin1");
    header.fill(0x20, 148, 156);
    header.write(`${header.reduce((a, b) => a + b, 0).toString(8).padStart(6, "0")}\0 `, 148);
    return [header, body, Buffer.alloc((512 - (body.length % 512)) % 512)];
  });
  return Buffer.concat([...parts, Buffer.alloc(1024)]);
}
const sha256 = (b: Buffer | string): string => createHash("sha256").update(b).digest("hex");

/** What `docker save` writes. */
function dockerSave(name: string, layers: readonly Buffer[], config: object): Buffer {
  const body = JSON.stringify({ config });
  const files = layers.map((layer) => ({ path: `${sha256(layer)}/layer.tar`, body: layer }));
  return tar([{ path: `${sha256(body)}.json`, body }, ...files, { path: "manifest.json", body: JSON.stringify([{ Config: `${sha256(body)}.json`, RepoTags: [name], Layers: files.map((f) => f.path) }]) }]);
}
/** An OCI layout, gzipped layers. */
function ociLayout(name: string, layers: readonly Buffer[], config: object): Buffer {
  const blobs = new Map<string, Buffer>();
  const blob = (content: Buffer | string, mediaType: string) => {
    const bytes = Buffer.from(content);
    blobs.set(sha256(bytes), bytes);
    return { mediaType, digest: `sha256:${sha256(bytes)}`, size: bytes.length };
  };
  const manifest = blob(JSON.stringify({
    schemaVersion: 2, config: blob(JSON.stringify({ architecture: "amd64", os: "linux", config }), "application/vnd.oci.image.config.v1+json"),
    layers: layers.map((l) => blob(gzipSync(l), "application/vnd.oci.image.layer.v1.tar+gzip")),
  }), "application/vnd.oci.image.manifest.v1+json");
  return tar([
    { path: "oci-layout", body: '{"imageLayoutVersion":"1.0.0"}' }, { path: "index.json", body: JSON.stringify({ schemaVersion: 2, manifests: [{ ...manifest, annotations: { "org.opencontainers.image.ref.name": name } }] }) },
    ...[...blobs].map(([hex, body]) => ({ path: `blobs/sha256/${hex}`, body })),
  ]);
}

describe("images", function () {
  this.timeout(60_000);
  // One second try, which the reporter names: the test shares two cores with the cluster it watches.
  this.retries(1);
  let lab: TestLab;
  let folder: string;
  let program: Buffer | undefined;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "ai-"));
    writeFileSync(join(folder, "p.c"), PROGRAM);
    const built = spawnSync("cc", ["-static", "-Os", "-s", "-o", join(folder, "p"), join(folder, "p.c")]);
    if (built.status === 0) program = readFileSync(join(folder, "p"));
    lab = await TestLab.start({ mesh: false, nodes: 1 });
    await lab.until(KINDS.serviceAccounts, "default", (a) => a.some((s) => s.metadata.name === "default"));
  });
  after(async () => {
    await lab?.stop();
    rmSync(folder, { recursive: true, force: true });
  });
  const image = (...args: string[]) => ambit(["lab", "image", args[0] ?? "", "--state", dirname(lab.kubeconfig), ...args.slice(1)]);
  const load = (name: string, bytes: Buffer) => {
    writeFileSync(join(folder, name), bytes);
    return image("load", join(folder, name));
  };
  /** Runs a pod of the image to its end and gives its log. */
  async function said(name: string, of: string, more: Record<string, unknown> = {}): Promise<string> {
    await lab.apply(JSON.stringify({ apiVersion: "v1", kind: "Pod", metadata: { name, namespace: "default" }, spec: { restartPolicy: "Never", containers: [{ name: "c", image: of, ...more }] } }));
    const pods = await lab.until<Pod>(KINDS.pods, "default", (all) => all.some((p) => p.metadata.name === name && ["Succeeded", "Failed"].includes(p.status?.phase ?? "")));
    const log = await lab.kubectl("logs", name);
    assert.equal(pods.find((p) => p.metadata.name === name)?.status?.phase, "Succeeded", log);
    return log;
  }

  it("a local command is an image: its arguments, and its root is thrown away", async () => {
    const added = image("add", "greeter", "--command", "sh", "-c", 'echo "hi $0 from $HOSTNAME"; touch /etc/ambit-was-here; ls /etc/ambit-was-here');
    assert.equal(added.code, 0, added.err);
    assert.equal(await said("greeter", "greeter", { args: ["bob"] }), "hi bob from greeter\n/etc/ambit-was-here\n");
    assert.ok(!existsSync("/etc/ambit-was-here"), "the machine's own root is untouched");
  });

  it("an unknown image is ErrImagePull with the way to add it", async () => {
    await lab.apply(JSON.stringify({ apiVersion: "v1", kind: "Pod", metadata: { name: "lost", namespace: "default" }, spec: { containers: [{ name: "c", image: "no/such:1" }] } }));
    const [pod] = await lab.until<Pod>(KINDS.pods, "default", (all) => all.some((p) => p.metadata.name === "lost" && waiting(p) !== undefined)).then((all) => all.filter((p) => p.metadata.name === "lost"));
    assert.match(waiting(pod as Pod)?.reason ?? "", /^ErrImagePull$|^ImagePullBackOff$/);
    assert.match(waiting(pod as Pod)?.message ?? "", /ambit lab image add no\/such:1 --command .* or "ambit lab image load FILE"/);
    // Added meanwhile, it starts.
    assert.equal(image("add", "no/such:1", "--command", "sleep", "1000").code, 0);
    await lab.until<Pod>(KINDS.pods, "default", (all) => all.some((p) => p.metadata.name === "lost" && p.status?.phase === "Running"), 40_000);
  });

  for (const [kind, make] of [["a docker archive", dockerSave], ["an OCI layout", ociLayout]] as const) it(`${kind}: its own root, layers, whiteouts, environment, user`, async function () {
    if (program === undefined) return this.skip(); // no C compiler with a static libc on this machine
    const name = kind === "an OCI layout" ? "oci" : "docker";
    const base = tar([{ path: "bin/", type: "5" }, { path: "bin/hello", body: program }, { path: "bin/sh", body: "x" }, { path: "greeting", body: "old " }]);
    const top = tar([{ path: "bin/.wh.sh" }, { path: "greeting", body: `from ${name}: ` }, { path: "work/", type: "5" }]);
    const loaded = load(`${name}.tar`, make(`test/${name}:1`, [base, top], { Entrypoint: ["/bin/hello"], Cmd: ["default"], Env: ["FROM=image"], WorkingDir: "/work", User: "1234" }));
    assert.equal(loaded.code, 0, loaded.err);
    assert.match(loaded.out, new RegExp(`loaded .*test/${name}:1`));
    assert.equal(await said(`${name}-1`, `test/${name}:1`), `from ${name}: /bin/hello uid=1234 cwd=/work FROM=image shell=0 arg=default\n`);
    assert.equal(await said(`${name}-2`, `test/${name}:1`, { args: ["mine"], env: [{ name: "FROM", value: "pod" }], securityContext: { runAsUser: 7 } }), `from ${name}: /bin/hello uid=7 cwd=/work FROM=pod shell=0 arg=mine\n`);
  });

  const evil = (entries: readonly Entry[]) => dockerSave("evil:1", [tar(entries)], {});
  const hostile: readonly (readonly [string, () => Buffer, RegExp])[] = [
    ["bytes", () => Buffer.from("hello ".repeat(1000)), /not a tar header/],
    ["nothing", () => Buffer.alloc(0), /neither an OCI image layout/],
    ["truncated gzip", () => gzipSync(Buffer.alloc(100_000, 7)).subarray(0, 60), /unexpected end of file|not a tar header/],
    ["..", () => evil([{ path: "../../escaped", body: "x" }]), /leads out of the image/],
    ["a hard link out", () => evil([{ path: "passwd", type: "1", link: "../../../etc/passwd" }]), /leads out of the image/],
    ["a hard link through a link", () => evil([{ path: "l", type: "2", link: "/etc" }, { path: "p", type: "1", link: "l/passwd" }]), /not a file of the image/],
    ["a size of 8 EiB", () => evil([{ path: "big", size: 0o77777777777 }]), /larger than its bound|ends within|larger than/],
    ["a loop of links", () => evil([{ path: "a", type: "2", link: "b" }, { path: "b", type: "2", link: "a" }, { path: "a/x", body: "1" }]), /too many symbolic links/],
    ["a manifest that names what is not there", () => tar([{ path: "manifest.json", body: '[{"Config":"../../etc/passwd","RepoTags":["x:1"],"Layers":[]}]' }]), /not in the archive/],
    ["a manifest that is no JSON", () => tar([{ path: "manifest.json", body: "{" }]), /manifest\.json is not JSON/],
    ["a wrong digest", () => { const good = ociLayout("x:1", [tar([])], {}); return Buffer.from(good.toString("latin1").replace('"architecture":"amd64"', '"architecture":"amdXX"'), "latin1"); }, /does not have that digest/],
    ["no name", () => dockerSave("", [], {}), /image name|has a name/],
  ];
  for (const [name, bytes, expected] of hostile) it(`refuses an archive with ${name}, naming the file`, () => {
    const images = join(dirname(lab.kubeconfig), "images");
    const before = readdirSync(images).sort();
    const done = load("hostile.tar", bytes());
    assert.equal(done.code, 1, done.out);
    assert.match(done.err, expected);
    assert.match(done.err, /^ambit: \S*hostile\.tar: [^\n]+\n$/);
    assert.deepEqual(readdirSync(images).sort(), before.includes("roots") ? before : [...before, "roots"].sort(), "nothing half unpacked is left");
    assert.ok(!existsSync(join(images, "../escaped")) && !existsSync(join(folder, "escaped")));
  });

  it("links to the outside stay inside the image", async function () {
    if (program === undefined) return this.skip(); // as above
    mkdirSync(join(folder, "target"));
    const loaded = load("links.tar", dockerSave("links:1", [tar([{ path: "hello", body: program }, { path: "out", type: "2", link: join(folder, "target") }, { path: "out/file", body: "x" }, { path: "up", type: "2", link: "../../../../../etc" }, { path: "up/ambit-escaped", body: "x" }])], { Entrypoint: ["/hello"], Env: ["FROM=links"] }));
    assert.equal(loaded.code, 0, loaded.err);
    assert.deepEqual(readdirSync(join(folder, "target")), []);
    assert.ok(!existsSync("/etc/ambit-escaped"));
    assert.match(await said("links", "links:1"), /FROM=links shell=0/);
    assert.ok(statSync("/etc/passwd").size > 0);
  });
});

function waiting(pod: Pod): { reason?: string; message?: string } | undefined {
  const [status] = (pod.status?.["containerStatuses"] as { state?: { waiting?: { reason?: string; message?: string } } }[] | undefined) ?? [];
  return /Image/.test(status?.state?.waiting?.reason ?? "") ? status?.state?.waiting : undefined;
}
