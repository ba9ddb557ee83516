// Tests lists and watches: selectors, paging, resumption, bookmarks, transitions, tables and ends.
import assert from "node:assert/strict";
import { asArray, asObjects, dig, type JsonObject } from "./json.ts";
import { CM, configMap, startRig, type Rig, type TestWatch } from "./test-client.ts";

const TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
const PARTIAL = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json";

function nameOf(object: JsonObject | undefined): unknown {
  return dig(object, "metadata", "name");
}

function names(body: JsonObject): unknown[] {
  return (body["items"] as JsonObject[]).map(nameOf);
}

describe("apiserver: list and watch", () => {
  let rig: Rig;
  const watches: TestWatch[] = [];
  const watch = async (path: string, accept?: string) => {
    const opened = await rig.admin.watch(path, accept);
    watches.push(opened);
    return opened;
  };
  const make = (name: string, labels: JsonObject = {}) => rig.admin.ask("POST", CM, { ...configMap(name), metadata: { name, labels } });
  const version = async () => String(dig((await rig.admin.ask("GET", CM)).body, "metadata", "resourceVersion"));
  const merge = (name: string, body: unknown) => rig.admin.ask("PATCH", `${CM}/${name}`, body, { type: "application/merge-patch+json" });

  beforeEach(async () => {
    rig = await startRig();
  });
  afterEach(async () => {
    for (const opened of watches.splice(0)) opened.close();
    await rig.close();
  });

  it("lists by labels and fields, in order", async () => {
    for (const [name, labels] of [["c", { a: "1" }], ["a", { a: "2", b: "x" }], ["b", {}]] as const) await make(name, labels);
    const list = async (query: string) => names((await rig.admin.ask("GET", `${CM}?${query}`)).body);
    assert.deepEqual(await list(""), ["a", "b", "c"]);
    for (const [selector, expected] of [
      ["a", ["a", "c"]],
      ["!a", ["b"]],
      ["a=1", ["c"]],
      ["a!=1", ["a", "b"]],
      ["a in (1,2)", ["a", "c"]],
      ["a notin (1)", ["a", "b"]],
      ["a,b=x", ["a"]],
    ] as const) {
      assert.deepEqual(await list(`labelSelector=${encodeURIComponent(selector)}`), expected, selector);
    }
    assert.deepEqual(await list("fieldSelector=metadata.name%3Db"), ["b"]);
    assert.deepEqual(await list("fieldSelector=metadata.name!%3Db,metadata.namespace%3Ddefault"), ["a", "c"]);
  });

  it("pages consistently while the list changes", async () => {
    for (const name of ["a", "b", "c", "d", "e"]) await make(name);
    const first = await rig.admin.ask("GET", `${CM}?limit=2`);
    assert.deepEqual(names(first.body), ["a", "b"]);
    assert.equal(dig(first.body, "metadata", "remainingItemCount"), 3);
    await make("bb");
    await rig.admin.ask("DELETE", `${CM}/d`);
    const second = await rig.admin.ask("GET", `${CM}?limit=2&continue=${String(dig(first.body, "metadata", "continue"))}`);
    assert.deepEqual(names(second.body), ["c", "d"], "the state of the first page");
    assert.equal(dig(second.body, "metadata", "resourceVersion"), dig(first.body, "metadata", "resourceVersion"));
    const third = await rig.admin.ask("GET", `${CM}?limit=2&continue=${String(dig(second.body, "metadata", "continue"))}`);
    assert.deepEqual(names(third.body), ["e"]);
    assert.equal(dig(third.body, "metadata", "continue"), undefined);
  });

  it("answers 410 with a token to go on when a page is lost", async () => {
    for (const name of ["a", "b", "c"]) await make(name);
    const lost = Buffer.from(JSON.stringify([1, "nosuchpage", 3, "default/a"])).toString("base64url");
    const answer = await rig.admin.ask("GET", `${CM}?limit=1&continue=${lost}`);
    assert.equal(answer.code, 410);
    assert.equal(answer.body["reason"], "Expired");
    const next = String(dig(answer.body, "metadata", "continue"));
    assert.deepEqual(names((await rig.admin.ask("GET", `${CM}?limit=1&continue=${next}`)).body), ["b"]);
  });

  it("watches from now, from a version, and from nothing", async () => {
    await make("old");
    const rv = await version();
    await make("middle");
    const resumed = await watch(`${CM}?watch=1&resourceVersion=${rv}`);
    assert.equal(nameOf((await resumed.next())?.object), "middle");
    const all = await watch(`${CM}?watch=1`);
    assert.deepEqual([nameOf((await all.next())?.object), nameOf((await all.next())?.object)], ["middle", "old"]);
    await rig.admin.ask("DELETE", `${CM}/old`);
    const gone = await resumed.next();
    assert.equal(gone?.type, "DELETED");
    assert.ok(Number(dig(gone?.object, "metadata", "resourceVersion")) > Number(rv), "a deletion has its own version");
    assert.equal((await all.next())?.type, "DELETED");
  });

  it("turns selector transitions into ADDED and DELETED", async () => {
    await make("x");
    const rv = await version();
    const seen = await watch(`${CM}?watch=1&resourceVersion=${rv}&labelSelector=on`);
    await merge("x", { metadata: { labels: { on: "" } } });
    await merge("x", { data: { a: "b" } });
    await merge("x", { metadata: { labels: { on: null } } });
    const events = [await seen.next(), await seen.next(), await seen.next()];
    assert.deepEqual(events.map((event) => event?.type), ["ADDED", "MODIFIED", "DELETED"]);
    assert.deepEqual(dig(events[2]?.object, "metadata", "labels"), { on: "" }, "the last state that was seen");
  });

  it("streams the initial list with its end marked", async () => {
    await make("a");
    const seen = await watch(`${CM}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&resourceVersion=0`);
    assert.equal((await seen.next())?.type, "ADDED");
    const mark = await seen.next();
    assert.equal(mark?.type, "BOOKMARK");
    assert.deepEqual(dig(mark?.object, "metadata", "annotations"), { "k8s.io/initial-events-end": "true" });
    const refused = await rig.admin.ask("GET", `${CM}?watch=1&sendInitialEvents=true`);
    assert.equal(refused.code, 422);
  });

  it("ends after timeoutSeconds with a last bookmark", async () => {
    const seen = await watch(`${CM}?watch=1&resourceVersion=${await version()}&timeoutSeconds=1&allowWatchBookmarks=true`);
    assert.equal((await seen.next())?.type, "BOOKMARK");
    assert.equal(await seen.next(), null);
  });

  it("answers versions outside its window with 410", async () => {
    const future = await watch(`${CM}?watch=1&resourceVersion=${Number(await version()) + 1000}`);
    const event = await future.next();
    assert.equal(event?.type, "ERROR");
    assert.equal(event?.object["code"], 410);
    assert.equal(event?.object["reason"], "Expired");
    assert.equal(await future.next(), null);
  });

  it("watches one name", async () => {
    await make("one");
    await make("two");
    const seen = await watch(`${CM}?watch=1&fieldSelector=metadata.name%3Done`);
    assert.equal(nameOf((await seen.next())?.object), "one");
    await merge("two", { data: { a: "b" } });
    await merge("one", { data: { a: "b" } });
    assert.equal(nameOf((await seen.next())?.object), "one");
  });

  it("shows tables and bare metadata, in lists and watches", async () => {
    await make("t");
    const list = await rig.admin.ask("GET", CM, undefined, { accept: TABLE });
    assert.equal(list.body["kind"], "Table");
    const columns = (list.body["columnDefinitions"] as JsonObject[]).map((column) => column["name"]);
    assert.deepEqual(columns, ["Name", "Data", "Age"]);
    assert.deepEqual(asArray(asObjects(list.body["rows"])[0]?.["cells"]).slice(0, 2), ["t", 0]);
    const seen = await watch(`${CM}?watch=1`, TABLE);
    assert.equal((await seen.next())?.object["kind"], "Table");
    const bare = await rig.admin.ask("GET", `${CM}/t`, undefined, { accept: PARTIAL });
    assert.deepEqual(Object.keys(bare.body).sort(), ["apiVersion", "kind", "metadata"]);
    assert.equal(bare.body["kind"], "PartialObjectMetadata");
    const partials = await rig.admin.ask("GET", CM, undefined, { accept: PARTIAL.replace("Metadata;", "MetadataList;") });
    assert.equal(partials.body["kind"], "PartialObjectMetadataList");
  });

  it("negotiates: YAML, protobuf with JSON as the alternative, nothing acceptable", async () => {
    await make("n");
    assert.match((await rig.admin.ask("GET", `${CM}/n`, undefined, { accept: "application/yaml" })).text, /^kind: ConfigMap$/m);
    const go = await rig.admin.ask("GET", `${CM}/n`, undefined, { accept: "application/vnd.kubernetes.protobuf,application/json" });
    assert.equal(go.headers["content-type"], "application/json");
    const only = await rig.admin.ask("GET", `${CM}/n`, undefined, { accept: "application/vnd.kubernetes.protobuf" });
    assert.equal(only.code, 406);
  });

  it("deletes collections by selector", async () => {
    for (const [name, labels] of [["a", { x: "1" }], ["b", {}]] as const) await make(name, labels);
    await rig.admin.ask("DELETE", `${CM}?labelSelector=x`);
    assert.deepEqual(names((await rig.admin.ask("GET", CM)).body), ["b"]);
  });

  it("tells 50 watchers of each change in order", async () => {
    const all = await Promise.all(Array.from({ length: 50 }, () => watch(`${CM}?watch=1&resourceVersion=0`)));
    for (let i = 0; i < 20; i++) await make(`n${String(i).padStart(2, "0")}`);
    const expected = Array.from({ length: 20 }, (_, i) => `n${String(i).padStart(2, "0")}`);
    for (const one of all) {
      const seen: unknown[] = [];
      while (seen.length < 20) seen.push(nameOf((await one.next())?.object));
      assert.deepEqual(seen, expected);
    }
  });
});
