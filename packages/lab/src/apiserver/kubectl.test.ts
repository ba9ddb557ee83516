// Tests with the kubectl on this machine, if there is one: the commands people type, as they type them.
import assert from "node:assert/strict";
import { execFile, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { PODS, startRig, type Rig } from "./test-client.ts";

const APP = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: app, labels: {app: app}}
spec:
  replicas: 2
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec: {containers: [{name: app, image: "app:1", ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: app}
spec: {selector: {app: app}, ports: [{port: 80}]}
`;

describe("apiserver: kubectl", function () {
  this.timeout(60_000);
  let rig: Rig;
  let dir: string;
  let manifest: string;

  before(async function () {
    try {
      execFileSync("kubectl", ["version", "--client"], { stdio: "ignore" });
    } catch {
      this.skip(); // no kubectl on this machine
    }
    dir = mkdtempSync(join(tmpdir(), "ambit-kubectl-"));
    manifest = join(dir, "app.yaml");
    writeFileSync(manifest, APP);
    rig = await startRig();
    await kubectl("create", "serviceaccount", "default");
  });
  after(async () => {
    if (rig === undefined) return;
    await rig.close();
    rmSync(dir, { recursive: true, force: true });
  });

  const options = () => ({ env: { ...process.env, HOME: dir, KUBECONFIG: rig.server.adminKubeconfig } });

  /** Output and errors together; rejects never. */
  function kubectl(...args: string[]): Promise<string> {
    return new Promise((resolve) => {
      execFile("kubectl", args, options(), (_error, stdout, stderr) => resolve(`${stdout}${stderr}`));
    });
  }

  const steps: readonly [command: string, expected: RegExp][] = [
    ["apply -f APP", /deployment\.apps\/app created\nservice\/app created/],
    ["apply -f APP", /deployment\.apps\/app unchanged\nservice\/app unchanged/],
    ["diff -f APP", /^$/],
    ["get deployments", /NAME +READY +UP-TO-DATE +AVAILABLE +AGE\napp +0\/2 +0 +0 /],
    ["get services -o wide", /app +ClusterIP +10\.96\.\d+\.\d+ +<none> +80\/TCP +\d+s +app=app/],
    ["get all -A", /service\/kubernetes[^]*deployment\.apps\/app/],
    ["apply --server-side -f APP", /conflict with "kubectl-client-side-apply"|serverside-applied/],
    ["apply --server-side --force-conflicts -f APP", /deployment\.apps\/app serverside-applied/],
    ["get deployment app -o jsonpath={.metadata.managedFields[*].operation}", /Apply/],
    ["scale deployment app --replicas=4", /deployment\.apps\/app scaled/],
    ['patch deployment app -p {"spec":{"template":{"spec":{"containers":[{"name":"app","image":"app:2"}]}}}}', /patched/],
    ["get deployment app -o jsonpath={.spec.replicas}/{.spec.template.spec.containers[0].image}", /^4\/app:2$/],
    ["set image deployment/app app=app:3", /image updated/],
    ["describe deployment app", /Replicas: +4 desired[^]*Image: +app:3/],
    ["run one --image=x:1", /pod\/one created/],
    ["get pods", /NAME +READY +STATUS +RESTARTS +AGE\none +0\/1 +Pending +0 /],
    ["get pods --field-selector=status.phase=Running", /No resources found/],
    ["label pod one tier=web", /labeled/],
    ["annotate pod one note=x", /annotated/],
    ["get pods -l tier=web -o name", /^pod\/one\n$/],
    ["describe pod one", /Name: +one[^]*kube-api-access/],
    ["delete pod one", /pod "one" deleted/],
    ["get pod one", /Error from server \(NotFound\): pods "one" not found/],
    ["create configmap c --from-literal=a=1", /configmap\/c created/],
    ["create configmap c", /already exists/],
    ["wait --for=jsonpath={.data.a}=1 configmap/c --timeout=5s", /condition met/],
    ["explain pod.spec.containers.image", /FIELD: image <string>|FIELD: +image/],
    ["api-resources --api-group=apps", /deployments +deploy +apps\/v1 +true +Deployment/],
    ["auth can-i create deployments", /yes/],
    ["auth can-i create deployments --as=joe", /no/],
    ["get secrets --as=joe", /User "joe" cannot list resource "secrets" in API group "" in the namespace "default"/],
    ["auth whoami", /kubernetes-admin/],
    ["create token default --duration=20m", /^ey/],
    ["create namespace shop", /namespace\/shop created/],
    ["label namespace shop istio.io/dataplane-mode=ambient", /labeled/],
    ["get namespaces", /shop +Active/],
    ["get --raw /readyz", /^ok$/],
    ["cluster-info", /running at/],
    ["delete -f APP", /deployment\.apps "app" deleted[^]*service "app" deleted/],
  ];

  it("runs the everyday commands", async () => {
    for (const [command, expected] of steps) {
      const args = command.split(" ").map((word) => (word === "APP" ? manifest : word));
      const output = await kubectl(...args);
      const younger = /unknown command|unknown flag|unrecognized condition/.test(output); // the command, than this kubectl
      if (!younger) assert.match(output, expected, `kubectl ${command}`);
    }
  });

  it("follows changes with get -w", async () => {
    const child = spawn("kubectl", ["get", "configmaps", "-w", "-o", "name"], options());
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    assert.equal((await lines.next()).value, "configmap/c");
    await kubectl("create", "configmap", "seen");
    assert.equal((await lines.next()).value, "configmap/seen");
    child.kill();
    await once(child, "exit");
  });

  it("says what is wrong with a manifest", async () => {
    writeFileSync(manifest, APP.replace("image:", "imagge:"));
    assert.match(await kubectl("apply", "-f", manifest), /unknown field "(spec\.template\.spec\.containers\[0\]\.)?imagge"/);
    writeFileSync(manifest, APP.replace("replicas: 2", "replicas: two"));
    assert.match(await kubectl("apply", "-f", manifest), /replicas/);
    assert.equal((await rig.admin.ask("GET", PODS)).code, 200);
  });
});
