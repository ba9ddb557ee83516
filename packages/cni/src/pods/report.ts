// Owns what the agent says about a pod at the API server: the redirection annotation, the MeshEnrolled condition, and Events.
import { isConflict, isNotFound, KINDS, type KubeClient, type Pod } from "@ambit/kube";

export const REDIRECTION = "ambient.istio.io/redirection";
/** Own name: True when a ztunnel listens in the pod and its redirection was read back from the kernel. */
export const CONDITION = "MeshEnrolled";
/** The API server refuses longer messages of events. */
const MESSAGE_MAX_CHARS = 1_000;

export interface Enrolment { readonly status: "True" | "False"; readonly reason: string; readonly message: string }
export interface PodRef { readonly uid: string; readonly name: string; readonly namespace: string }

export interface Report {
  /** undefined leaves it as it is, null takes it away. */
  readonly redirection?: "enabled" | "pending" | null;
  readonly enrolment?: Enrolment | null;
}

/** A strategic merge touches these entries and nobody else's; the uid makes it miss a successor of the same name. */
export function reportPatch(uid: string, report: Report, at: string): object {
  const { redirection, enrolment } = report;
  return {
    metadata: { uid, ...(redirection === undefined ? {} : { annotations: { [REDIRECTION]: redirection } }) },
    ...(enrolment === undefined ? {} : { status: { conditions: [enrolment === null ? { type: CONDITION, $patch: "delete" } : { type: CONDITION, ...enrolment, message: enrolment.message.slice(0, MESSAGE_MAX_CHARS), lastTransitionTime: at }] } }),
  };
}

export class Reporter {
  readonly #client: Pick<KubeClient, "patch" | "create">;
  readonly #node: string;
  readonly #now: () => number;

  constructor(client: Pick<KubeClient, "patch" | "create">, node: string, now: () => number) {
    this.#client = client;
    this.#node = node;
    this.#now = now;
  }

  /** A pod that is gone needs no report. */
  async write(pod: PodRef, report: Report): Promise<void> {
    try {
      await this.#client.patch(KINDS.pods, pod.namespace, pod.name, reportPatch(pod.uid, report, seconds(this.#now())), { type: "strategic", subresource: "status" });
    } catch (error) {
      if (!isNotFound(error) && !isConflict(error)) throw new Error(`cannot report on pod ${pod.namespace}/${pod.name}`, { cause: error });
    }
  }

  async warn(pod: PodRef, reason: string, message: string): Promise<void> {
    const at = seconds(this.#now());
    await this.#client.create(KINDS.events, pod.namespace, {
      apiVersion: "v1", kind: "Event", metadata: { generateName: `${pod.name.slice(0, 200)}.mesh-`, namespace: pod.namespace },
      involvedObject: { apiVersion: "v1", kind: "Pod", name: pod.name, namespace: pod.namespace, uid: pod.uid },
      type: "Warning", reason, message: message.slice(0, MESSAGE_MAX_CHARS), source: { component: "istio-cni", host: this.#node }, firstTimestamp: at, lastTimestamp: at, count: 1,
    });
  }
}

/** What the API server holds already. */
export const enrolmentOf = (pod: Pod): Enrolment | undefined => {
  const c = pod.status?.conditions?.find((x) => x.type === CONDITION);
  return c === undefined || c.status === "Unknown" ? undefined : { status: c.status, reason: c.reason ?? "", message: c.message ?? "" };
};

const seconds = (ms: number): string => new Date(ms).toISOString().replace(/\.\d+Z$/, "Z");
