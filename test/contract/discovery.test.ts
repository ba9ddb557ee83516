// The contract of discovery: which groups, versions and resources there are, the documents that say so, and what the lab leaves out.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { REAL } from "./cluster.fixture.ts";
import { contract, type Talk } from "./contract.fixture.ts";
import { at } from "./masks.fixture.ts";
import type { Json, JsonObject } from "./wire.fixture.ts";

const AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
/** `resource.group` of what Kubernetes serves and the lab does not, and why. */
const NOT_SERVED = JSON.parse(readFileSync(join(import.meta.dirname, "not-served.json"), "utf8")) as Record<string, string>;
/** Served by both, in these versions. */
const GROUPS = ["", "admissionregistration.k8s.io/v1", "apiextensions.k8s.io/v1", "apps/v1", "authentication.k8s.io/v1", "authorization.k8s.io/v1", "autoscaling/v2", "batch/v1", "coordination.k8s.io/v1", "discovery.k8s.io/v1", "events.k8s.io/v1", "networking.k8s.io/v1", "policy/v1", "rbac.authorization.k8s.io/v1", "scheduling.k8s.io/v1", "storage.k8s.io/v1"];
const served = (group: string, resource: string): boolean => NOT_SERVED[group === "" ? resource : `${resource}.${group}`] === undefined;
/** Subresources of kinds that run, which the lab has no use for; the rest is compared. */
const SUBRESOURCES_LEFT_OUT = /^pods\/(ephemeralcontainers|proxy|resize)$|^services\/proxy$|^nodes\/proxy$|^namespaces\/finalize$|^serviceaccounts\/token$/;

/** A hash of where a kind is stored, which is each server's own business. */
function withoutHash(resource: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(resource).filter(([key]) => key !== "storageVersionHash"));
}

async function groupsOf(t: Talk): Promise<JsonObject[]> {
  const lists = await Promise.all(["/api", "/apis"].map((path) => t.raw("GET", path, undefined, { accept: AGGREGATED })));
  return lists.flatMap((list) => at(list.json, "items") as JsonObject[]);
}

contract("discovery", ({ it }) => {
  it("serves what it says, and says what it leaves out", async (t) => {
    // A cluster may have custom kinds of anybody's.
    const own = new Set([...GROUPS.map((group) => group.split("/")[0] ?? ""), ...Object.keys(NOT_SERVED).map((name) => name.split(".").slice(1).join("."))]);
    const found = (await groupsOf(t)).filter((group) => own.has(String(at(group, "metadata.name") ?? "")));
    const resources = new Set(found.flatMap((group) => {
      const name = String(at(group, "metadata.name") ?? "");
      return (at(group, "versions") as JsonObject[]).flatMap((version) => (at(version, "resources") as JsonObject[]).map((r) => (name === "" ? String(r["resource"]) : `${String(r["resource"])}.${name}`)));
    }));
    const left = Object.keys(NOT_SERVED);
    if (REAL) assert.deepEqual(left.filter((name) => !resources.has(name)), [], "not-served.json names what Kubernetes does not serve either");
    else assert.deepEqual(left.filter((name) => resources.has(name)), [], "not-served.json names what the lab serves");
    t.note("the rest", [...resources].filter((name) => NOT_SERVED[name] === undefined).sort());
  });

  for (const group of GROUPS) {
    it(`lists the resources of ${group === "" ? "the core" : group}`, async (t) => {
      const [name = ""] = group.split("/");
      await t.ask("GET", group === "" ? "/api/v1" : `/apis/${group}`, undefined, {
        show: (body) => ({ kind: at(body, "kind"), apiVersion: at(body, "apiVersion"), groupVersion: at(body, "groupVersion"), resources: (at(body, "resources") as JsonObject[]).filter((r) => served(name, String(r["name"]).split("/")[0] ?? "") && !SUBRESOURCES_LEFT_OUT.test(String(r["name"]))).map(withoutHash).sort((a, b) => (String(a["name"]) < String(b["name"]) ? -1 : 1)) as Json }),
      });
      if (group !== "") await t.ask("GET", `/apis/${name}`, undefined, { show: (body) => ({ kind: at(body, "kind"), name: at(body, "name"), preferred: at(body, "preferredVersion.version") }) });
    });
  }

  it("says all at once", async (t) => {
    const groups = await groupsOf(t);
    const one = (name: string): Json => {
      const group = groups.find((candidate) => at(candidate, "metadata.name") === name);
      return (at(group, "versions") as JsonObject[]).map((version) => ({ version: at(version, "version"), freshness: at(version, "freshness"), resources: at(version, "resources") }));
    };
    for (const name of ["apps", "coordination.k8s.io", "scheduling.k8s.io"]) t.note(name, one(name));
    const answer = await t.raw("GET", "/apis", undefined, { accept: AGGREGATED });
    t.note("type", [answer.headers["content-type"] ?? null, at(answer.json, "kind"), at(answer.json, "apiVersion")]);
    const plain = await t.raw("GET", "/apis");
    t.note("plain", [plain.headers["content-type"] ?? null, at(plain.json, "kind"), at(plain.json, "apiVersion")]);
    await t.ask("GET", "/api", undefined, { show: ["kind", "versions"] });
  });

  it("refuses what is not there", async (t) => {
    await t.ask("GET", "/apis/no.such");
    await t.ask("GET", "/apis/no.such/v1");
    await t.ask("GET", "/apis/apps/v7");
    await t.ask("GET", "/api/v2");
    await t.ask("GET", "/healthz/nothing", undefined, { show: "code" });
  });

  it("is healthy, and of a version", async (t) => {
    for (const path of ["/healthz", "/livez", "/readyz", "/healthz/ping", "/healthz/etcd"]) {
      const answer = await t.raw("GET", path);
      t.note(path, [answer.code, answer.text, answer.headers["content-type"] ?? null]);
    }
    await t.ask("GET", "/version", undefined, { show: (body) => ({ major: at(body, "major"), minor: at(body, "minor"), keys: Object.keys(body as JsonObject).filter((key) => !/emulation|minCompat/.test(key)).sort() }) });
    await t.ask("GET", "/.well-known/openid-configuration", undefined, { show: (body) => Object.keys(body as JsonObject).sort() });
    await t.ask("GET", "/openid/v1/jwks", undefined, { show: (body) => Object.keys(body as JsonObject) });
  });

  it("describes itself in OpenAPI", async (t) => {
    const index = await t.raw("GET", "/openapi/v3");
    const paths = Object.keys(at(index.json, "paths") as JsonObject);
    t.note("groups", GROUPS.map((group) => paths.includes(group === "" ? "api/v1" : `apis/${group}`)));
    const apps = await t.raw("GET", String(at((at(index.json, "paths") as JsonObject)["apis/apps/v1"], "serverRelativeURL")));
    const deployments = (at(apps.json, "paths") as JsonObject)["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"] as JsonObject;
    t.note("operations", Object.entries(deployments).filter(([verb]) => verb !== "parameters").map(([verb, operation]) => [verb, at(operation, "x-kubernetes-action"), at(operation, "x-kubernetes-group-version-kind")] as Json).sort());
    const schema = (at(apps.json, "components.schemas") as JsonObject)["io.k8s.api.apps.v1.DeploymentSpec"] as JsonObject;
    t.note("a schema", [Object.keys(at(schema, "properties") as JsonObject).sort(), at(schema, "required")]);
    const spec = (at(apps.json, "components.schemas") as JsonObject)["io.k8s.api.core.v1.PodSpec"] as JsonObject;
    t.note("a list by key", ["type", "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-patch-merge-key", "x-kubernetes-patch-strategy"].map((key) => at(spec, `properties.containers.${key}`)));
    const old = await t.raw("GET", "/openapi/v2");
    const definition = (at(old.json, "definitions") as JsonObject)["io.k8s.api.core.v1.ConfigMap"] as JsonObject;
    t.note("v2", [old.code, at(old.json, "swagger"), Object.keys(at(definition, "properties") as JsonObject).sort(), definition["x-kubernetes-group-version-kind"] ?? null]);
    const patch = at((at(old.json, "paths") as JsonObject)["/api/v1/namespaces/{namespace}/configmaps/{name}"], "patch");
    t.note("v2 patch", (at(patch, "consumes") as string[]).filter((type) => !type.includes("cbor")).sort());
  });
});
