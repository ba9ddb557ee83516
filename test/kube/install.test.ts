// The beginning of `pnpm test:kube`: what the cluster is before the mesh, and the mesh in it. Other files of that verb go on from here.
import { TOOLS_NAMESPACE, TestKube } from "../e2e/kube.fixture.ts";
import { bystanders, BYSTANDERS, NAMES } from "./bystanders.fixture.ts";
import { install } from "./installation.fixture.ts";
import { KUBECONFIG, remembered, TAGS } from "./run.fixture.ts";
import { pictureOfCluster, pictureOfNode, pictureOfPod, still } from "./snapshot.fixture.ts";

describe("an installation on Kubernetes", function () {
  this.timeout(300_000);
  let kube: TestKube;
  before(async () => { kube = await TestKube.open(KUBECONFIG); });
  after(() => kube.close());

  it("finds pods that are there already", async () => {
    await kube.apply(bystanders());
    await kube.ready(BYSTANDERS, { enrolled: false, count: NAMES.length, limitMs: 120_000 });
    remembered.cluster = await pictureOfCluster(kube, (o) => o.metadata.namespace === TOOLS_NAMESPACE);
    for (const node of kube.nodes) remembered.nodes.set(node, await still(() => pictureOfNode(kube, node)));
    for (const pod of NAMES) remembered.pods.set(pod, await pictureOfPod(kube, BYSTANDERS, pod));
  });
  it("comes up from images that were imported on the nodes", () => install(kube, TAGS.first));
  it("takes them in while they run", async () => void await kube.ready(BYSTANDERS, { enrolled: true, count: NAMES.length }));
});
