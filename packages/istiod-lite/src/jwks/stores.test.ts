import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { KubeError } from "@ambit/kube";
import { keysInConfigMap, keysInFolder } from "./stores.ts";

describe("the record of issuers' keys in a folder", () => {
  let folder = "";
  beforeEach(() => { folder = mkdtempSync(join(tmpdir(), "ambit-keys-")); });
  afterEach(() => rmSync(folder, { recursive: true }));

  it("is what was written last, readable by nobody else, and whole", async () => {
    const store = keysInFolder(join(folder, "ca"));
    assert.equal(await store.load(), "");
    await store.save((stored) => `${stored}a`);
    await store.save((stored) => `${stored}b`);
    await store.save(() => undefined);
    assert.equal(await keysInFolder(join(folder, "ca")).load(), "ab");
    assert.deepEqual([readdirSync(join(folder, "ca")), statSync(join(folder, "ca", "ambit-jwks.json")).mode & 0o777], [["ambit-jwks.json"], 0o600]);
  });
});

describe("the record of issuers' keys in a ConfigMap", () => {
  /** One ConfigMap, in which `between` writes after each read, while it has something to. */
  function fake(between: string[] = []) {
    let map: { metadata: { name: string; resourceVersion: string }; data: Record<string, string> } | undefined;
    let version = 0;
    const put = (text: string): void => { map = { metadata: { name: "ambit-jwks", resourceVersion: String(++version) }, data: { "keys.json": text } }; };
    const calls: string[] = [];
    const client = {
      get: async () => {
        calls.push("get");
        const found = map;
        const other = between.shift();
        if (other !== undefined) put(other);
        if (found === undefined) throw new KubeError(404, "NotFound", "none");
        return found;
      },
      create: async (_kind: unknown, _namespace: string, o: { metadata: { name: string }; data: Record<string, string> }) => {
        calls.push(`create ${o.metadata.name}`);
        if (map !== undefined) throw new KubeError(409, "AlreadyExists", "there");
        put(o.data["keys.json"] ?? "");
      },
      patch: async (_kind: unknown, _namespace: string, _name: string, o: { metadata: { resourceVersion: string }; data: Record<string, string> }) => {
        calls.push("patch");
        if (o.metadata.resourceVersion !== map?.metadata.resourceVersion) throw new KubeError(409, "Conflict", "changed");
        put(o.data["keys.json"] ?? "");
      },
    };
    return { store: (revision = "default") => keysInConfigMap({ client: client as never, namespace: "istio-system", revision }), calls, text: () => map?.data["keys.json"] };
  }

  it("is made once, changed after, and let alone where there is nothing to write", async () => {
    const f = fake();
    assert.equal(await f.store().load(), "");
    await f.store().save(() => undefined);
    await f.store().save((stored) => `${stored}a`);
    await f.store().save((stored) => `${stored}b`);
    assert.deepEqual([await f.store().load(), f.calls], ["ab", ["get", "get", "get", "create ambit-jwks", "get", "patch", "get"]]);
  });
  it("is of its own for each revision", async () => {
    const f = fake();
    await f.store("canary").save(() => "x");
    assert.deepEqual(f.calls, ["get", "create ambit-jwks-canary"]);
  });
  it("is changed on top of what another replica wrote in between", async () => {
    const f = fake(["theirs "]);
    await f.store().save((stored) => `${stored}ours`);
    assert.equal(f.text(), "theirs ours");
  });
  it("is given up for now when others never stop", async () => {
    const f = fake(Array.from({ length: 10 }, (_, i) => String(i)));
    await assert.rejects(f.store().save((stored) => `${stored}ours`), /changed/);
  });
});
