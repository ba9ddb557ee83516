// The everyday commands of kubectl on objects: reading, writing, and what changes them; on a cluster whose pods really run.
import assert from "node:assert/strict";
import { KINDS } from "@ambit/kube";
import { Kubectl, type Step } from "./kubectl.fixture.ts";
import { TestLab } from "./lab.fixture.ts";

const app = (o: { replicas?: number; extra?: string } = {}): string => `
apiVersion: apps/v1
kind: Deployment
metadata: {name: app, labels: {app: app}}
spec:
  replicas: ${o.replicas ?? 2}
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: app
        image: ambit/sample:lab
        args: [serve, --name, app]
        ports: [{name: http, containerPort: 8080}]
        ${o.extra ?? ""}
---
apiVersion: v1
kind: Service
metadata: {name: app}
spec: {selector: {app: app}, ports: [{name: http, port: 80, targetPort: http}]}
`;
const configMap = (name: string, data: Readonly<Record<string, string>>): string => JSON.stringify({ apiVersion: "v1", kind: "ConfigMap", metadata: { name }, data });
const NO_TOP = /[Mm]etrics( API|-server)? not available/;

describe("kubectl on objects", function () {
  this.timeout(90_000);
  // One second try, which the reporter names: the test shares two cores with the cluster it watches.
  this.retries(1);
  let lab: TestLab;
  let kubectl: Kubectl;
  before(async () => {
    lab = await TestLab.start({ mesh: false });
    kubectl = new Kubectl(lab.kubeconfig);
    kubectl.file("app.yaml", app());
    kubectl.file("app3.yaml", app({ replicas: 3 }));
    kubectl.file("ssa.yaml", configMap("ssa", { a: "1", b: "2" }));
    kubectl.file("ssa2.yaml", configMap("ssa", { a: "3" }));
    kubectl.file("hpa.yaml", JSON.stringify({ apiVersion: "autoscaling/v2", kind: "HorizontalPodAutoscaler", metadata: { name: "app" }, spec: { maxReplicas: 3, scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name: "app" } } }));
    kubectl.file("editor", "#!/bin/sh\nsed -i 's/a: \"1\"/a: edited/' \"$1\"\n");
    await lab.until(KINDS.nodes, undefined, (nodes) => nodes.length === 2);
    await kubectl.steps([["wait --for=condition=Ready node --all --timeout=20s", /node-1 condition met/]]);
  });
  after(async () => {
    kubectl?.close();
    await lab?.stop();
  });

  const groups: readonly (readonly [string, readonly Step[]])[] = [
    ["applies, again without a change, and shows the difference", [
      ["apply -f @app.yaml", /deployment\.apps\/app created\nservice\/app created/],
      ["rollout status deployment/app --timeout=20s", /successfully rolled out/],
      ["apply -f @app.yaml", /deployment\.apps\/app unchanged\nservice\/app unchanged/],
      ["diff -f @app.yaml", /^$/],
      ["diff -f @app3.yaml", /-\s+replicas: 2\n\+\s+replicas: 3/, { code: 1 }],
      ["apply -f @app3.yaml --dry-run=server", /deployment\.apps\/app configured \(server dry run\)/],
      ["get deployment app -o jsonpath={.spec.replicas}", /^2$/],
      ["apply --server-side --field-manager=one -f @ssa.yaml", /configmap\/ssa serverside-applied/],
      ["get configmap ssa -o jsonpath={.metadata.resourceVersion}", /^\d+$/],
      ["apply --server-side --field-manager=two -f @ssa2.yaml", /conflict with "one": \.data\.a/, { code: 1 }],
      ["apply --server-side --field-manager=two --force-conflicts -f @ssa2.yaml", /serverside-applied/],
      ["apply --server-side --field-manager=two -f @ssa2.yaml", /serverside-applied/],
      ["get configmap ssa -o jsonpath={.data}", /^{"a":"3","b":"2"}$/],
      ["diff --server-side --field-manager=two -f @ssa2.yaml", /^$/],
      ["replace -f @ssa2.yaml", /configmap\/ssa replaced/],
      ["get configmap ssa -o jsonpath={.data}", /^{"a":"3"}$/],
    ]],
    ["gets in every form", [
      ["get pods -l app=app", /NAME +READY +STATUS +RESTARTS +AGE\napp-\w+-\w+ +1\/1 +Running +0 +\d+s\napp-/],
      ["get pods -o wide", /NODE +NOMINATED NODE +READINESS GATES\napp-\S+ .* 10\.244\.[12]\.\d+ +node-[12] /],
      ["get pods -A -o name", /pod\/app-/],
      ["get pod,svc,deploy,rs,ep -o name", /pod\/app-[^]*service\/app\n[^]*deployment\.apps\/app\nreplicaset\.apps\/app-[^]*endpoints\/app/],
      ["get deployment app -o yaml", /apiVersion: apps\/v1\nkind: Deployment[^]*readyReplicas: 2/],
      ["get deployment app -o json", /"kind": "Deployment"[^]*"availableReplicas": 2/],
      ["get pods -o jsonpath={.items[*].status.phase}", /^Running Running$/],
      ["get pods -o jsonpath='{range .items[*]}{.spec.nodeName}{\"\\n\"}{end}'", /node-/],
      ["get pods -o custom-columns=N:.metadata.name,IP:.status.podIP", /N +IP\napp-\S+ +10\.244\./],
      ["get pods -o go-template='{{range .items}}{{.kind}} {{end}}'", /Pod Pod/],
      ["get pods --sort-by=.metadata.creationTimestamp", /app-/],
      ["get pods --show-labels", /app=app,pod-template-hash=/],
      ["get pods -L app", /APP\n.* app\n/],
      ["get pods --field-selector status.phase=Running,spec.nodeName!=nowhere -o name", /pod\/app-/],
      ["get pods --field-selector status.phase=Failed", /No resources found in default namespace/],
      ["get pods --field-selector no.such=x", /field label not supported: no\.such/, { code: 1 }],
      ["get pods -l 'app in (app,other),!missing' -o name", /pod\/app-/],
      ["get pods -l 'app in ('", /unable to parse|found/, { code: 1 }],
      ["get nodes -o wide", /node-1 +Ready +\S+ +\S+ +v1\.\d+\S* +172\.30\.0\.11/],
      ["get namespaces,serviceaccounts,secrets,events -A", /namespace\/kube-system/],
      ["get endpointslices", /app-\S+ +IPv4 +8080 +10\.244\./],
      ["get no-such-kind", /the server doesn't have a resource type "no-such-kind"/, { code: 1 }],
      ["get pod nobody", /pods "nobody" not found/, { code: 1 }],
      ["get pod nobody --ignore-not-found", /^$/],
      ["get deployment app --subresource=status -o name", /deployment\.apps\/app/, { since: 24 }],
      ["get pods --chunk-size=1 -o name", /pod\/app-\S+\npod\/app-/],
      ["get --raw /api/v1/namespaces/default/pods?limit=1", /"continue":"/],
    ]],
    ["describes", [
      ["describe deployment app", /Replicas: +2 desired \| 2 updated \| 2 total \| 2 available[^]*ScalingReplicaSet/],
      ["describe pods -l app=app", /Status: +Running[^]*Port: +8080\/TCP[^]*kube-api-access[^]*Scheduled[^]*Started/],
      ["describe service app", /Type: +ClusterIP[^]*Endpoints: +10\.244\.\d\.\d+:8080/],
      ["describe node node-1", /InternalIP: +172\.30\.0\.11[^]*Non-terminated Pods/],
      ["describe namespace default", /Status: +Active/],
      ["describe configmap ssa", /a:\n----\n3/],
    ]],
    ["changes objects", [
      ["patch deployment app -p '{\"spec\":{\"replicas\":3}}'", /patched$/m],
      ["patch deployment app --type=merge -p '{\"spec\":{\"replicas\":1}}'", /patched$/m],
      ["patch deployment app --type=json -p '[{\"op\":\"replace\",\"path\":\"/spec/replicas\",\"value\":2}]'", /patched$/m],
      ["patch deployment app --type=json -p '[{\"op\":\"replace\",\"path\":\"/no/where\",\"value\":2}]'", /./, { code: 1 }],
      ["patch deployment app -p '{\"spec\":{\"replicas\":2}}'", /patched \(no change\)/],
      ["label configmap ssa tier=web", /labeled/],
      ["label configmap ssa tier=db", /already has a value/, { code: 1 }],
      ["label configmap ssa tier=db --overwrite", /labeled/],
      ["label configmap ssa tier-", /unlabeled|labeled/],
      ["label configmap ssa 'bad key=x'", /name part must consist/, { code: 1 }],
      ["annotate configmap ssa note='two words'", /annotated/],
      ["get configmap ssa -o jsonpath={.metadata.annotations.note}", /^two words$/],
      ["create configmap ed --from-literal=a=1", /created/],
      ["edit configmap ed", /configmap\/ed edited/, { env: { KUBE_EDITOR: "@editor" } }],
      ["get configmap ed -o jsonpath={.data.a}", /^edited$/],
      ["edit configmap ed", /no changes made/i, { env: { KUBE_EDITOR: "true" } }],
      ["set env deployment/app MODE=x", /env updated/],
      ["set resources deployment/app --requests=cpu=10m", /resource requirements updated/],
      ["set serviceaccount deployment/app default", /serviceaccount updated/],
      ["set image deployment/app app=ambit/sample:lab", /^$/],
      ["create configmap x", /created/], ["create configmap x", /already exists/, { code: 1 }],
      ["create configmap 'No Good'", /Invalid value/, { code: 1 }],
      ["create secret generic s --from-literal=k=v", /created/],
      ["get secret s -o jsonpath={.data.k}", /^dg==$/],
      ["create serviceaccount robot", /created/],
      ["create role r --verb=get,list --resource=pods", /created/],
      ["create rolebinding rb --role=r --serviceaccount=default:robot", /created/],
      ["create clusterrole cr --verb=get --resource=nodes", /created/],
      ["create clusterrolebinding crb --clusterrole=cr --user=joe", /created/],
      ["create quota q --hard=pods=1", /./, { code: 1 }],
      ["create poddisruptionbudget pdb --selector=app=app --min-available=1", /created/, { since: 21 }],
      ["create service clusterip c --tcp=80:8080", /created/],
      ["create service externalname e --external-name=example.com", /created/],
      ["create service nodeport n --tcp=80:8080", /created/],
      ["create deployment made --image=ambit/sample:lab --replicas=1", /created/],
      ["create namespace n1", /created/],
      ["expose deployment made --port=8080", /service\/made exposed/],
      ["create service clusterip bad --tcp=80:99999", /must be between 1 and 65535/, { code: 1 }],
      ["create -f @hpa.yaml", /created/], ["get hpa", /app +Deployment\/app/],
    ]],
    ["rolls out, back and restarts", [
      ["scale deployment app --replicas=3", /scaled/],
      ["scale deployment app --replicas=1 --current-replicas=9", /Expected replicas to be 9, was 3/, { code: 1 }],
      ["scale deployment app --replicas=1", /scaled/],
      ["rollout status deployment/app --timeout=20s", /successfully rolled out/],
      ["set env deployment/app MODE=y", /env updated/],
      ["rollout status deployment/app --timeout=20s", /successfully rolled out/],
      ["rollout history deployment/app", /REVISION +CHANGE-CAUSE\n1 /],
      ["rollout history deployment/app --revision=1", /Pod Template:[^]*ambit\/sample:lab/],
      ["rollout undo deployment/app --to-revision=1", /rolled back/],
      ["rollout status deployment/app --timeout=20s", /successfully rolled out/],
      ["get deployment app -o jsonpath={.spec.template.spec.containers[0].env}", /^$/],
      ["rollout restart deployment/app", /restarted/],
      ["rollout status deployment/app --timeout=20s", /successfully rolled out/],
      ["rollout pause deployment/app", /paused/], ["rollout resume deployment/app", /resumed/],
      ["wait --for=condition=available deployment/app --timeout=10s", /condition met/],
      ["wait --for=jsonpath={.status.readyReplicas}=1 deployment/app --timeout=10s", /condition met/, { since: 23 }],
    ]],
    ["asks the server about itself", [
      ["api-resources", /NAME +SHORTNAMES[^]*deployments +deploy +apps\/v1 +true +Deployment/],
      ["api-resources --namespaced=false -o name", /^nodes$/m], ["api-resources --verbs=list,watch -o name", /^pods$/m],
      ["api-versions", /apps\/v1\n[^]*^v1$/m],
      ["explain deployment.spec.strategy", /rollingUpdate/i], ["explain pods --recursive", /containers/],
      ["explain pod.spec.nothing", /does not exist/, { code: 1 }],
      ["explain deployments --api-version=apps/v1 --output=plaintext-openapiv2", /KIND: +Deployment/, { since: 27 }],
      ["cluster-info", /running at/], ["version", /Server Version/], ["get --raw /version", /gitVersion/],
      ["auth can-i create pods", /^yes/], ["auth can-i '*' '*'", /^yes/],
      ["auth can-i list pods --as=system:serviceaccount:default:robot", /^yes/],
      ["auth can-i delete pods --as=system:serviceaccount:default:robot", /^no/, { code: 1 }],
      ["auth can-i get nodes --as=joe", /^(Warning[^\n]*\n)?yes/],
      ["auth can-i --list --as=joe", /selfsubjectaccessreviews/],
      ["get secrets --as=joe", /cannot list resource "secrets"/, { code: 1 }],
      ["auth whoami", /kubernetes-admin/, { since: 27 }],
      ["create token robot --duration=20m", /^ey/, { since: 24 }],
      ["create token nobody", /not found/, { since: 24, code: 1 }],
      ["top nodes", NO_TOP, { code: 1 }], ["top pods", NO_TOP, { code: 1 }],
      ["events", /ScalingReplicaSet|Started/, { since: 26 }], ["get events --sort-by=.lastTimestamp", /Scheduled/],
      ["get componentstatuses", /./, { code: 1 }],
    ]],
    ["deletes, with and without what belongs to it", [
      ["delete deployment made --cascade=foreground --timeout=20s", /deleted/],
      ["get rs -l app=made", /No resources found/],
      ["delete deployment app --cascade=orphan", /deleted/],
      ["get rs -l app=app -o name", /replicaset/],
      ["delete rs -l app=app --wait", /deleted/],
      ["delete pods -l app=app --ignore-not-found --grace-period=1 --timeout=20s", /./],
      ["delete namespace n1 --timeout=20s", /deleted/], ["get namespace n1", /not found/, { code: 1 }],
      ["delete configmap ssa ed x", /"ssa" deleted[^]*"x" deleted/],
      ["delete configmap ssa", /not found/, { code: 1 }],
      ["delete configmap ssa --ignore-not-found", /^$/],
      ["delete -f @app.yaml --ignore-not-found", /service "app" deleted/],
      ["delete hpa,pdb,role,rolebinding,secret --all", /deleted/],
    ]],
  ];
  for (const [name, steps] of groups) it(name, () => kubectl.steps(steps));

  it("follows changes with get -w and waits for the end with wait --for=delete", async () => {
    const watching = kubectl.start("get configmaps -w -o name");
    await watching.says(/kube-root-ca/);
    await kubectl.steps([["create configmap seen", /created/]]);
    await watching.says(/configmap\/seen/);
    const waiting = kubectl.start("wait --for=delete configmap/seen --timeout=20s -v=6");
    await waiting.says(/configmaps[^\n]*200 OK/);
    await kubectl.steps([["delete configmap seen", /deleted/]]);
    assert.equal((await waiting.ended()).code, 0);
    await watching.stop();
  });

  it("refuses a manifest with an unknown field, naming it", async () => {
    kubectl.file("typo.yaml", app({ extra: "imagge: x" }));
    await kubectl.steps([
      ["apply -f @typo.yaml", /unknown field "?(spec\.template\.spec\.containers\[0\]\.)?imagge/, { code: 1 }],
      ["apply -f -", /./, { code: 1, input: "kind: Pod\napiVersion: v1\nmetadata: [1]\n" }],
      ["apply -f -", /no matches for kind "Pood"/, { code: 1, input: "kind: Pood\napiVersion: v1\nmetadata: {name: x}\n" }],
      ["apply -f -", /./, { code: 1, input: "not: [yaml" }],
    ]);
  });
});
