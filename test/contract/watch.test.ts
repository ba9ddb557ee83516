// The contract of watches: where they begin, what they tell, what selectors make of changes, bookmarks, and how they end.
import assert from "node:assert/strict";
import { contract, named, type Talk } from "./contract.fixture.ts";
import { configMap, MERGE, PARTIAL, pod, TABLE } from "./objects.fixture.ts";
import { at } from "./masks.fixture.ts";
import type { Json } from "./wire.fixture.ts";

async function version(t: Talk, path = "~/secrets"): Promise<string> {
  const answer = await t.raw("GET", path);
  const found = String(at(answer.json, "metadata.resourceVersion"));
  t.mask(`resourceVersion=${found}`, "resourceVersion=RV");
  return found;
}
const make = (t: Talk, name: string, labels = {}) => t.quiet("POST", "~/secrets", { metadata: { name, labels } });
const patch = (t: Talk, name: string, body: unknown) => t.quiet("PATCH", `~/secrets/${name}`, body, MERGE);

contract("watch", ({ it }) => {
  it("begins with what is there, or after a version", async (t) => {
    await t.namespace();
    await make(t, "old");
    const rv = await version(t);
    await make(t, "new");
    const all = await t.watch("~/secrets?watch=1");
    const some = await t.watch(`~/secrets?watch=true&resourceVersion=${rv}`);
    const zero = await t.watch("~/secrets?watch=1&resourceVersion=0");
    const both = await all.take(2, (event) => event.type);
    t.note("all", both.map((event) => String(at(event?.object, "metadata.name"))).sort());
    await some.take(1);
    await zero.take(2, (event) => event.type);
    await patch(t, "old", { data: { a: "Yg==" } });
    await t.quiet("DELETE", "~/secrets/old");
    await all.take(2);
    await some.take(2);
    await zero.take(2);
  });

  it("tells the last state of what goes, with a version of its own", async (t) => {
    await t.namespace();
    const made = await make(t, "x", { a: "b" });
    const stream = await t.watch("~/secrets?watch=1&resourceVersion=" + (await version(t)));
    await t.quiet("DELETE", "~/secrets/x");
    const [event] = await stream.take(1, ({ type, object }) => [type, at(object, "kind"), at(object, "apiVersion"), at(object, "metadata.labels")]);
    const seen = at(event?.object, "metadata.resourceVersion");
    t.note("a later version", Number(seen) > Number(made.metadata["resourceVersion"]));
  });

  it("turns selectors into additions and deletions", async (t) => {
    await t.namespace();
    await make(t, "x");
    const stream = await t.watch(`~/secrets?watch=1&labelSelector=on&resourceVersion=${await version(t)}`);
    await patch(t, "x", { metadata: { labels: { on: "1" } } });
    await patch(t, "x", { data: { a: "Yg==" } });
    await patch(t, "x", { metadata: { labels: { on: null } } });
    await patch(t, "x", { data: { a: "Yw==" } });
    await patch(t, "x", { metadata: { labels: { on: "2" } } });
    await t.quiet("DELETE", "~/secrets/x");
    await stream.take(5, ({ type, object }) => [type, at(object, "metadata.labels"), at(object, "data")]);
  });

  it("follows one name, or a field", async (t) => {
    await t.namespace();
    await make(t, "a");
    await make(t, "b");
    const one = await t.watch("~/secrets/a?watch=1");
    const field = await t.watch("~/secrets?watch=1&fieldSelector=metadata.name%3Db");
    await one.take(1);
    await field.take(1);
    await patch(t, "b", { data: { a: "Yg==" } });
    await patch(t, "a", { data: { a: "Yg==" } });
    await one.take(1);
    await field.take(1);
    await t.quiet("POST", "~/pods", pod("p"));
    const phase = await t.watch("~/pods?watch=1&fieldSelector=status.phase%3DRunning&resourceVersion=" + (await version(t, "~/pods")));
    await t.quiet("PATCH", "~/pods/p/status", { status: { phase: "Running" } }, MERGE);
    await t.quiet("PATCH", "~/pods/p/status", { status: { phase: "Failed" } }, MERGE);
    await phase.take(2, ({ type, object }) => [type, at(object, "status.phase")]);
  });

  it("streams the initial list and marks its end", async (t) => {
    await t.namespace();
    await make(t, "a");
    await make(t, "b");
    const stream = await t.watch("~/secrets?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true");
    const initial = await stream.take(2, (event) => event.type);
    t.note("initial", initial.map((event) => String(at(event?.object, "metadata.name"))).sort());
    await stream.take(1, ({ type, object }) => ({ type, kind: at(object, "kind"), apiVersion: at(object, "apiVersion"), annotations: at(object, "metadata.annotations"), version: /^\d+$/.test(String(at(object, "metadata.resourceVersion"))) }));
    await make(t, "c");
    await stream.take(1);
    await t.ask("GET", "~/secrets?watch=1&sendInitialEvents=true");
    await t.ask("GET", "~/secrets?watch=1&sendInitialEvents=true&resourceVersionMatch=Exact&resourceVersion=1");
    await t.ask("GET", "~/secrets?sendInitialEvents=true&resourceVersionMatch=NotOlderThan");
    await t.ask("GET", "~/secrets?watch=1&resourceVersionMatch=NotOlderThan");
    await t.ask("GET", "~/secrets?watch=1&resourceVersion=x");
    await t.ask("GET", "~/secrets?watch=1&labelSelector=%3D", undefined, { loose: true });
    await t.ask("GET", "~/secrets?watch=1&fieldSelector=a.b%3Dc");
    await t.ask("GET", "~/secrets?watch=1&limit=-1&timeoutSeconds=x");
  });

  it("initial events from a version on are the changes since", async (t) => {
    await t.namespace();
    await make(t, "a");
    const rv = await version(t);
    await make(t, "b");
    const none = await t.watch(`~/secrets?watch=1&sendInitialEvents=false&resourceVersionMatch=NotOlderThan&resourceVersion=${rv}`);
    await none.take(1);
    const streamed = await t.watch(`~/secrets?watch=1&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan&resourceVersion=${rv}`);
    const events = await streamed.take(3, (event) => event.type);
    t.note("names", events.slice(0, 2).map((event) => String(at(event?.object, "metadata.name"))).sort());
  });

  it("ends in time", async (t) => {
    const stream = await t.watch(`~/secrets?watch=1&timeoutSeconds=1&resourceVersion=${await version(t)}`);
    await stream.take(1);
  });

  it("says when a version is gone", async (t) => {
    const old = await t.watch("~/secrets?watch=1&resourceVersion=1&timeoutSeconds=2");
    const events = await old.take(1, () => null);
    // A young server still has everything since its first version.
    const object = events[0]?.type === "ERROR" ? events[0].object : null;
    t.transcript.pop();
    if (object !== null) assert.deepEqual([object["code"], object["reason"], object["status"]], [410, "Expired", "Failure"]);
  });

  it("shows tables and bare metadata", async (t) => {
    await t.namespace();
    await make(t, "a", { x: "y" });
    const rv = await version(t);
    const table = await t.watch("~/secrets?watch=1", { accept: TABLE });
    await table.take(1, ({ type, object }) => [type, at(object, "kind"), at(object, "rows.0.cells.0"), at(object, "rows.0.object.kind"), (at(object, "columnDefinitions") as Json[] | null)?.length ?? null]);
    await make(t, "b");
    await table.take(1, ({ type, object }) => [type, at(object, "kind"), at(object, "rows.0.cells.0"), (at(object, "columnDefinitions") as Json[] | null)?.length ?? null]);
    const partial = await t.watch(`~/secrets?watch=1&resourceVersion=${rv}`, { accept: PARTIAL });
    await partial.take(1, ({ type, object }) => [type, Object.keys(object).sort(), at(object, "kind"), at(object, "apiVersion")]);
    t.note("content types", [String(table.stream.headers["content-type"]), String(partial.stream.headers["content-type"])]);
    await t.ask("GET", "~/secrets?watch=1", undefined, { accept: "text/html", loose: true });
  });

  it("tells of all namespaces, and of other verbs' changes", async (t) => {
    await t.namespace();
    const stream = await t.watch(`/api/v1/configmaps?watch=1&labelSelector=mark%3D${t.ns}`);
    t.mask(`mark%3D${t.ns}`, "MARK");
    const labels = { mark: t.ns };
    await t.quiet("POST", "~/configmaps", configMap("a", {}, { labels }));
    await t.quiet("PATCH", "~/configmaps/b?fieldManager=x", configMap("b", {}, { labels }), { type: "application/apply-patch+yaml" });
    await t.quiet("PUT", "~/configmaps/a", configMap("a", { x: "y" }, { labels }));
    await t.quiet("PUT", "~/configmaps/a", configMap("a", { x: "y" }, { labels }));
    await t.quiet("DELETE", "~/configmaps?labelSelector=mark");
    const events = await stream.take(5, (event) => event.type);
    t.note("names", events.map((event) => (event === null ? null : named(event))).slice(0, 3));
  });

  it("keeps objects that finalizers hold, and tells each step", async (t) => {
    await t.namespace();
    const stream = await t.watch(`~/secrets?watch=1&resourceVersion=${await version(t)}`);
    await t.quiet("POST", "~/secrets", { metadata: { name: "f", finalizers: ["example.com/hold"] } });
    await t.quiet("DELETE", "~/secrets/f");
    await patch(t, "f", { metadata: { finalizers: null } });
    await stream.take(3, ({ type, object }) => [type, at(object, "metadata.finalizers"), at(object, "metadata.deletionTimestamp") !== null, at(object, "metadata.deletionGracePeriodSeconds")]);
  });

  it("old-style watch paths", async (t) => {
    await t.namespace();
    await make(t, "a");
    const answer = await t.raw("GET", t.path("~/secrets").replace("/api/v1/", "/api/v1/watch/") + "?timeoutSeconds=1");
    t.note("code", answer.code);
  });
});
