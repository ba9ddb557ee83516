import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLogger, LogLevels, systemClock } from "@ambit/runtime";
import { buildMesh, type Mesh } from "../collections/graph.ts";
import { DEFAULT_SETTINGS } from "../collections/settings.ts";
import { allocateAddresses } from "../plan/allocate-entries.ts";
import { watchFiles, type FileSources } from "./files.ts";
import { createInbox } from "./inbox.ts";

const WAIT_MS = 5_000;
const service = (name: string, ip: string, extra = ""): string => `apiVersion: v1\nkind: Service\nmetadata: {name: ${name}, namespace: app}\nspec:\n  clusterIP: ${ip}\n  ports: [{port: 80}]\n${extra}`;
const policy = (name: string, rest: string): string => `apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: ${name}, namespace: app}\nspec: ${rest}\n`;

describe("a folder of files as the source", () => {
  let folder: string;
  let mesh: Mesh;
  let files: FileSources;
  let said: { at: string; error: string }[];
  const write = (name: string, text: string): void => {
    // As careful deployments do: a name appears whole.
    writeFileSync(join(folder, `.${name}`), text);
    renameSync(join(folder, `.${name}`), join(folder, name));
  };
  const start = (): void => {
    mesh = buildMesh(DEFAULT_SETTINGS);
    said = [];
    const inbox = createInbox(mesh, createLogger("t", { levels: new LogLevels("error"), write: () => undefined }));
    inbox.open();
    files = watchFiles({ folder, inbox, complete: allocateAddresses, clock: systemClock, log: createLogger("t", { write: (l) => said.push(JSON.parse(l) as (typeof said)[number]) }) });
  };
  const addresses = async (): Promise<string[]> => {
    await new Promise((r) => setImmediate(r));
    return mesh.addresses.keys().map((k) => k.replace(".svc.cluster.local", ""));
  };
  beforeEach(() => { folder = mkdtempSync(join(tmpdir(), "ambit-files-")); });
  afterEach(() => {
    files.stop();
    rmSync(folder, { recursive: true });
  });

  it("reads several documents, folders, lists and JSON; skips hidden names and kinds of others", async () => {
    mkdirSync(join(folder, "deep"));
    write("a.yaml", `${service("a", "10.96.0.1")}---\n${service("b", "10.96.0.2")}---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: other}\n`);
    writeFileSync(join(folder, "deep", "c.yml"), `apiVersion: v1\nkind: List\nitems:\n- ${service("c", "10.96.0.3").replaceAll("\n", "\n  ")}\n`);
    write("d.json", JSON.stringify({ apiVersion: "v1", kind: "Service", metadata: { name: "d" }, spec: { clusterIP: "10.96.0.4", ports: [{ port: 1 }] } }));
    write("notes.txt", "kind: nothing");
    writeFileSync(join(folder, ".hidden.yaml"), service("hidden", "10.96.0.9"));
    start();
    await files.whenSynced();
    assert.deepEqual(await addresses(), ["app/a.app", "app/b.app", "app/c.app", "default/d.default"]);
    assert.deepEqual(files.problems(), []);
  });

  it("waits at start until everything is understood, and says where it is not", async () => {
    write("a.yaml", service("a", "10.96.0.1"));
    write("bad.yaml", `${policy("deny", "{action: DENY, rules: [{}]}")}---\nkind: {\n`);
    start();
    let synced = false;
    void files.whenSynced().then(() => { synced = true; });
    assert.equal((await addresses()).length, 1);
    assert.equal(synced, false, "a mesh without a policy that has a typo must not be served");
    assert.match(files.problems().join(), /^bad\.yaml:\d+: /);
    write("bad.yaml", policy("deny", "{action: DENY, rules: [{}]}"));
    await files.whenSynced();
    await addresses();
    assert.deepEqual(mesh.authorizations.keys(), ["app/deny"]);
    assert.deepEqual(files.problems(), []);
  });

  it("keeps a file's last good objects while it has a mistake, and follows when it is mended", async () => {
    write("a.yaml", service("a", "10.96.0.1"));
    start();
    await files.whenSynced();
    write("a.yaml", `${service("z", "10.96.0.9")}---\na: b: c\n`);
    files.look();
    assert.deepEqual(await addresses(), ["app/a.app"]);
    assert.equal(said.at(-1)?.at, "a.yaml:8");
    files.look();
    assert.equal(said.length, 1, "said once");
    write("a.yaml", service("z", "10.96.0.9"));
    files.look();
    assert.deepEqual(await addresses(), ["app/z.app"]);
    unlinkSync(join(folder, "a.yaml"));
    files.look();
    assert.deepEqual(await addresses(), []);
  });

  it("keeps the last good form of an object, names the line, and lets the others of its file go on", async () => {
    write("a.yaml", `${service("a", "10.96.0.1")}---\n${service("b", "10.96.0.2")}`);
    start();
    write("a.yaml", `${service("a", "10.96.0.1").replace("port: 80", "port: 99999")}---\n${service("c", "10.96.0.3")}`);
    files.look();
    assert.deepEqual(await addresses(), ["app/a.app", "app/c.app"]);
    assert.deepEqual(files.problems(), ["a.yaml:6: Service app/a: spec.ports[0].port must be a port from 1 to 65535"]);
  });

  it("lets the first place of an object count and names both", async () => {
    write("a.yaml", service("a", "10.96.0.1"));
    write("b.yaml", `\n${service("a", "10.96.0.2")}`);
    start();
    const address = mesh.addresses.get("app/a.app.svc.cluster.local");
    assert.equal((await addresses()).length, 1);
    assert.equal(address, undefined);
    assert.deepEqual(files.problems(), ["b.yaml:2: Service app/a is also at a.yaml:1, which counts"]);
    const vip = mesh.addresses.list()[0];
    assert.equal(vip?.kind === "service" ? vip.service.vips[0]?.cidr.ip : "", "10.96.0.1");
  });

  it("follows a folder that is exchanged by a link, as mounted ConfigMaps are", async () => {
    for (const [version, ip] of [["..1", "10.96.0.1"], ["..2", "10.96.0.2"]] as const) {
      mkdirSync(join(folder, version));
      writeFileSync(join(folder, version, "a.yaml"), service("a", ip));
    }
    symlinkSync("..1", join(folder, "..data"));
    symlinkSync("..data/a.yaml", join(folder, "a.yaml"));
    start();
    symlinkSync("..2", join(folder, "..new"));
    renameSync(join(folder, "..new"), join(folder, "..data"));
    files.look();
    await addresses();
    const a = mesh.addresses.list()[0];
    assert.equal(a?.kind === "service" ? a.service.vips[0]?.cidr.ip : "", "10.96.0.2");
  });

  it("hears of changes by itself", async () => {
    start();
    await files.whenSynced();
    write("a.yaml", service("a", "10.96.0.1"));
    for (const end = performance.now() + WAIT_MS; performance.now() < end && mesh.addresses.size === 0; ) await systemClock.sleep(10);
    assert.deepEqual(await addresses(), ["app/a.app"]);
  });

  it("gives entries addresses, the same ones every time", async () => {
    const entry = "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: e, namespace: app}\nspec: {hosts: [e.example.com], ports: [{number: 80, name: http}], resolution: DNS}\n";
    write("e.yaml", entry);
    start();
    const vips = async (): Promise<string[]> => {
      await addresses();
      const a = mesh.addresses.get("app/e.example.com");
      return a?.kind === "service" ? a.service.vips.map((v) => v.cidr.ip) : [];
    };
    const first = await vips();
    assert.equal(first.length, 2);
    write("e.yaml", entry.replace("name: http", "name: web"));
    files.look();
    assert.deepEqual(await vips(), first);
  });

  it("refuses to begin without a folder", () => {
    start();
    assert.throws(() => watchFiles({ folder: join(folder, "nowhere"), inbox: createInbox(mesh, createLogger("t")), complete: () => new Map(), clock: systemClock, log: createLogger("t") }), /ENOENT/);
  });
});
