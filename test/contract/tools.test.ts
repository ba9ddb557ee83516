// The contract of the tools people use: kubectl, helm and the client of Ambit's own programs say and see the same on both.
import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { KINDS, KubeClient, Reflector, type ConfigMap } from "@ambit/kube";
import { Kubectl, type Step } from "../e2e/kubectl.fixture.ts";
import { useCluster } from "./cluster.fixture.ts";

const NS = `ct-tools-${process.pid}`;
/** Processes on a busy machine. */
const STEP_MS = 90_000;

const app = (replicas: number): string => `
apiVersion: apps/v1
kind: Deployment
metadata: {name: app}
spec:
  replicas: ${replicas}
  selector: {matchLabels: {app: app}}
  template: {metadata: {labels: {app: app}}, spec: {schedulerName: nobody, containers: [{name: app, image: "app:1"}]}}
`;
const map = (value: string): string => JSON.stringify({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "ssa" }, data: { a: value } });

describe("contract: tools", function () {
  this.timeout(STEP_MS);
  const cluster = useCluster();
  let kubectl: Kubectl;
  let client: KubeClient;
  before(async () => {
    kubectl = new Kubectl(cluster.get().kubeconfig);
    client = new KubeClient(cluster.get().config);
    await client.create(KINDS.namespaces, undefined, { apiVersion: "v1", kind: "Namespace", metadata: { name: NS } });
    kubectl.file("app0.yaml", app(0));
    kubectl.file("app1.yaml", app(1));
    kubectl.file("ssa1.yaml", map("1"));
    kubectl.file("ssa2.yaml", map("2"));
    kubectl.file("editor", "#!/bin/sh\nsed -i 's/^data:$/data:\\n  edited: \"yes\"/' \"$1\"\n");
    kubectl.file("odd.yaml", app(0).replace("image:", "imagge:"));
  });
  after(async () => {
    await client.delete(KINDS.namespaces, undefined, NS);
    client.close();
    kubectl.close();
    await cluster.release();
  });

  const groups: readonly (readonly [string, readonly Step[]])[] = [
    ["kubectl applies and compares", [
      ["apply -f @app0.yaml", /deployment\.apps\/app created/],
      ["apply -f @app0.yaml", /deployment\.apps\/app unchanged/],
      ["diff -f @app0.yaml", /^$/],
      ["diff -f @app1.yaml", /-\s+replicas: 0\n\+\s+replicas: 1/, { code: 1 }],
      ["apply --server-side --field-manager=one -f @ssa1.yaml", /configmap\/ssa serverside-applied/],
      ["apply --server-side --field-manager=two -f @ssa2.yaml", /conflict with "one": \.data\.a/, { code: 1 }],
      ["apply --server-side --field-manager=two --force-conflicts -f @ssa2.yaml", /serverside-applied/],
      ["apply -f @odd.yaml", /unknown field "spec\.template\.spec\.containers\[0\]\.imagge"/, { code: 1, since: 25 }],
    ]],
    ["kubectl changes", [
      ["rollout status deployment/app --timeout=20s", /successfully rolled out/],
      ["rollout restart deployment/app", /deployment\.apps\/app restarted/],
      ["rollout history deployment/app", /REVISION +CHANGE-CAUSE\n1 /],
      ["edit configmap ssa", /configmap\/ssa edited/, { env: { KUBE_EDITOR: "@editor" } }],
      ["get configmap ssa -o jsonpath={.data.edited}", /^yes$/],
      ["patch deployment app -p '{\"spec\":{\"paused\":true}}'", /patched/],
      ["scale deployment app --replicas=0", /scaled/],
      ["label configmap ssa tier=web", /labeled/],
      ["annotate configmap ssa note=x", /annotated/],
      ["label configmap ssa tier=db", /already has a value/, { code: 1 }],
      ["wait --for=jsonpath={.data.a}=2 configmap/ssa --timeout=10s", /condition met/, { since: 23 }],
    ]],
    ["kubectl asks", [
      ["get deployments", /NAME +READY +UP-TO-DATE +AVAILABLE +AGE\napp +0\/0 +0 +0 /],
      ["describe deployment app", /Replicas: +0 desired[^]*Image: +app:1/],
      ["explain deployment.spec.replicas", /FIELD: +replicas/],
      ["api-resources --api-group=apps -o name", /deployments\.apps/],
      ["auth can-i create deployments --as=nobody", /^no/, { code: 1 }],
      ["auth can-i '*' '*'", /^yes/],
      ["get pods --field-selector=no.such=x", /field label not supported: no\.such/, { code: 1 }],
      ["get no-such-kind", /doesn't have a resource type "no-such-kind"/, { code: 1 }],
    ]],
    ["kubectl deletes", [
      ["delete deployment app --cascade=foreground --timeout=30s", /deployment\.apps "app" deleted/],
      ["delete configmap none --ignore-not-found", /^$/],
      ["delete configmap none", /configmaps "none" not found/, { code: 1 }],
    ]],
  ];
  for (const [title, steps] of groups) {
    it(title, () => kubectl.steps(steps.map(([line, expected, options]) => [`-n ${NS} ${line}`, expected, options ?? {}] as const)));
  }

  it("kubectl follows with get -w", async () => {
    const talk = kubectl.start(`-n ${NS} get configmaps --field-selector metadata.name=followed -w -o name`);
    // What is made before the watch is open is listed, what comes later is told: both are said once.
    await client.create(KINDS.configMaps, NS, { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "followed" } });
    await talk.says(/^configmap\/followed\n/);
    await client.patch(KINDS.configMaps, NS, "followed", { data: { a: "1" } });
    await talk.says(/^(configmap\/followed\n){2}/);
    await talk.stop();
  });

  it("our own client lists, follows and patches", async () => {
    const at = { namespace: NS };
    const reflector = new Reflector<ConfigMap>(client, KINDS.configMaps, at);
    const told: string[] = [];
    let heard: () => void = () => undefined;
    const hear = (what: string) => (object: ConfigMap): void => { if (object.metadata.name === "watched") told.push(what); heard(); };
    reflector.handle({ onAdd: hear("added"), onUpdate: (_, now) => hear("updated")(now), onDelete: hear("deleted"), onSynced: () => heard() }).start();
    const until = async (ok: () => boolean): Promise<void> => { while (!ok()) await new Promise<void>((resolve) => { heard = resolve; }); };
    try {
      await until(() => reflector.synced);
      await client.create(KINDS.configMaps, NS, { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "watched" }, data: { a: "1" } });
      await until(() => told.length === 1);
      await client.patch(KINDS.configMaps, NS, "watched", { data: { a: "2" } });
      await until(() => told.length === 2);
      await client.delete(KINDS.configMaps, NS, "watched");
      await until(() => told.length === 3);
      assert.deepEqual(told, ["added", "updated", "deleted"]);
    } finally {
      await reflector.stop();
    }
  });

  describe("helm", () => {
    let folder: string;
    before(function () {
      if (spawnSync("helm", ["version"], { stdio: "ignore" }).status !== 0) {
        process.stdout.write("    no helm on PATH: its cases are left out\n");
        return this.skip();
      }
      folder = mkdtempSync(join(tmpdir(), "ct-helm-"));
      mkdirSync(join(folder, "chart", "templates"), { recursive: true });
      writeFileSync(join(folder, "chart", "Chart.yaml"), "apiVersion: v2\nname: contract\nversion: 0.1.0\n");
      writeFileSync(join(folder, "chart", "values.yaml"), "value: one\nextra: false\n");
      writeFileSync(join(folder, "chart", "templates", "map.yaml"), "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}}\ndata: {value: {{ .Values.value | quote }}}\n{{ if .Values.extra }}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}-extra}\n{{ end }}");
    });
    after(() => { if (folder !== undefined) rmSync(folder, { recursive: true, force: true }); });

    const helm = async (...args: string[]): Promise<string> => (await promisify(execFile)("helm", [...args, "-n", NS], { encoding: "utf8", env: { ...process.env, HOME: folder, KUBECONFIG: cluster.get().kubeconfig } })).stdout;
    const value = async (): Promise<unknown> => (await client.get<ConfigMap>(KINDS.configMaps, NS, "rel")).data?.["value"];

    it("installs, upgrades, rolls back and uninstalls", async () => {
      assert.match(await helm("install", "rel", join(folder, "chart"), "--wait"), /STATUS: deployed\nREVISION: 1/);
      assert.equal(await value(), "one");
      assert.match(await helm("upgrade", "rel", join(folder, "chart"), "--set", "value=two,extra=true"), /REVISION: 2/);
      assert.equal(await value(), "two");
      assert.match(await helm("history", "rel"), /1 .*superseded[^]*2 .*deployed/);
      const secrets = await kubectl.run(`-n ${NS} get secrets -l owner=helm -o jsonpath={.items[*].type}`);
      assert.equal(secrets.out, "helm.sh/release.v1 helm.sh/release.v1");
      await helm("rollback", "rel", "1");
      assert.equal(await value(), "one");
      const extra = await kubectl.run(`-n ${NS} get configmap rel-extra`);
      assert.match(extra.both, /not found/);
      await helm("uninstall", "rel");
      assert.match((await kubectl.run(`-n ${NS} get configmap rel`)).both, /not found/);
    });
  });
});
