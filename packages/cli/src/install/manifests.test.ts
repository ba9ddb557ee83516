// What is installed, over every profile: right by Kubernetes' schemas, no more privilege than docs/security.md gives reasons for, no more rights than are asked.
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { layValues, setValues, type ValueMap } from "@ambit/charts";
import { parseManifests, type KubeObject } from "@ambit/kube";
import { podSecurityViolations, type PodSpecLike } from "@ambit/testkit";
import { INSTALL_RIGHTS } from "../check/rights.ts";
import { profileNames, readCharts, readProfile, readValuesFile } from "./charts-on-disk.ts";
import { schemaProblems } from "./openapi.fixture.ts";
import { installationOf } from "./plan/installation.ts";

const REPO = join(import.meta.dirname, "../../../..");
const TESTDATA = join(import.meta.dirname, "../../../charts/src/testdata");
const charts = readCharts();
const made = (values: ValueMap, revision = "default"): KubeObject[] => installationOf(charts, { namespace: "istio-system", revision, version: "1.2.3", values }).stages.flatMap((s) => s.objects);

const CASES = new Map<string, KubeObject[]>([
  ["the defaults", made({})],
  ...profileNames().map((p): [string, KubeObject[]] => [`profile ${p}`, made(readProfile(p))]),
  ...readdirSync(TESTDATA).map((name): [string, KubeObject[]] => [`values of the test case ${name}`, made(withoutRevision(readValuesFile(join(TESTDATA, name, "values.yaml"))))]),
  ["a second control plane", made({}, "canary")],
]);

function withoutRevision(values: ValueMap): ValueMap {
  return layValues(values, { global: { revision: "default" } });
}
const podOf = (objects: readonly KubeObject[], name: string): PodSpecLike => (objects.find((o) => o.metadata.name === name && (o.kind === "Deployment" || o.kind === "DaemonSet"))?.["spec"] as { template: { spec: PodSpecLike } }).template.spec;

/** Beyond "restricted", and docs/security.md says why. */
const PRIVILEGES: Readonly<Record<string, readonly string[]>> = {
  istiod: [],
  ztunnel: [
    "capabilities: NET_ADMIN", "capabilities: NET_RAW", "capabilities: SYS_ADMIN", "host paths: /var/run/ztunnel", "privilege escalation: allowed", "running as root: not forbidden", "running as root: user 0", "seccomp: no profile",
  ],
  "istio-cni-node": [
    "AppArmor: Unconfined", "capabilities: DAC_OVERRIDE", "capabilities: NET_ADMIN", "capabilities: NET_RAW", "capabilities: SYS_ADMIN", "capabilities: SYS_PTRACE", "host namespaces: hostNetwork",
    "host paths: /etc/cni/net.d", "host paths: /opt/cni/bin", "host paths: /proc", "host paths: /var/run/istio-cni", "host paths: /var/run/netns", "host paths: /var/run/ztunnel",
    "privilege escalation: allowed", "running as root: not forbidden", "running as root: user 0", "seccomp: no profile",
  ],
};

describe("what is installed", () => {
  for (const [name, objects] of CASES) {
    it(`${name}: every object is right by Kubernetes' own schema`, () => assert.deepEqual(objects.flatMap((o) => schemaProblems(o).map((p) => `${o.kind} ${o.metadata.name}${p}`)), []));
  }
  it("the schema check finds what is wrong", () => {
    const wrong = { apiVersion: "apps/v1", kind: "DaemonSet", metadata: { name: 1 }, spec: { selector: {}, template: { spec: { containers: [{ image: "x", resources: { limits: { memory: "lots" } }, port: [] }] } } } };
    assert.deepEqual(schemaProblems(wrong), [
      ".metadata.name: 1 is no string", ".spec.template.spec.containers[0].name: missing", ".spec.template.spec.containers[0].resources.limits.memory: lots is no quantity", ".spec.template.spec.containers[0].port: unknown field",
    ]);
  });

  for (const [name, objects] of CASES) {
    if (/lab|everything|second/.test(name)) continue;
    for (const [part, expected] of Object.entries(PRIVILEGES)) {
      it(`${name}: ${part} has no privilege beyond the table`, () => {
        // Other platforms' paths are other paths, and no more of them.
        const count = (v: readonly string[]): string[] => v.map((x) => (x.startsWith("host paths") ? "host path" : x));
        assert.deepEqual(count(podSecurityViolations(podOf(objects, part), "restricted")), count(expected));
      });
    }
  }
  it("with the default paths, exactly these", () => {
    for (const [part, expected] of Object.entries(PRIVILEGES)) assert.deepEqual(podSecurityViolations(podOf(made({}), part), "restricted"), expected);
  });
  it("docs/security.md gives a reason for each of them", () => {
    const doc = readFileSync(join(REPO, "docs/security.md"), "utf8").toLowerCase();
    const words = Object.values(PRIVILEGES).flat().map((p) => p.replace(/^(host paths|capabilities|host namespaces): /, "").replace(/^running as root.*/, "running as root").replace(/: .*/, "").toLowerCase());
    assert.deepEqual([...new Set(words)].filter((w) => !doc.includes(w)), []);
  });

  it("takes no right that `ambit check --pre` does not ask for", () => {
    const made = new Set([...CASES.values()].flat().map((o) => `${(o.apiVersion ?? "").includes("/") ? (o.apiVersion ?? "").split("/")[0] : ""}/${plural(o.kind ?? "")}`));
    const asked = new Set(INSTALL_RIGHTS.map((r) => `${r.group}/${r.resource}`));
    assert.deepEqual([...made].filter((m) => !asked.has(m)), []);
  });

  it("the GitOps samples name charts and profiles that there are", () => {
    const text = ["argo-cd", "flux"].map((f) => readFileSync(join(REPO, `manifests/samples/gitops/${f}.yaml`), "utf8")).join("\n---\n");
    assert.ok(parseManifests(text, "samples").length >= 7);
    const named = [...text.matchAll(/(?:manifests|\.\.\/\.\.)\/(?:charts|profiles)\/[\w./-]+/g)].map(([p]) => p.replace("../..", "manifests"));
    assert.equal(new Set(named.map((p) => p.split("/").slice(0, 3).join("/"))).size, 5);
    assert.deepEqual(named.filter((p) => !existsSync(join(REPO, p))), []);
  });

  it("images come from one hub and tag, or are named one by one", () => {
    const images = JSON.stringify(made(setValues({}, "global.hub=h.example/a,global.tag=v7,ztunnel.image=z:1"))).match(/"image":"[^"]*"|"WAYPOINT_IMAGE","value":"[^"]*"/g);
    assert.deepEqual(images, ['"image":"h.example/a/istiod-lite:v7"', '"WAYPOINT_IMAGE","value":"h.example/a/waypoint:v7"', '"image":"h.example/a/cni:v7"', '"image":"z:1"']);
  });
});

const plural = (kind: string): string => (kind.endsWith("y") ? `${kind.slice(0, -1)}ies` : `${kind}s`).toLowerCase();
