// Owns the narrow shapes of workload objects that the plans read; everything else in them is carried along unread.
import type { Condition, KubeObject, ObjectMeta, Pod } from "@ambit/kube";

export interface SelectorExpression { key: string; operator: string; values?: string[] }
export interface LabelSelector { matchLabels?: Record<string, string>; matchExpressions?: SelectorExpression[] }

export interface PodTemplate { metadata?: Partial<ObjectMeta>; spec: Pod["spec"] }
export type IntOrPercent = number | string;

export interface Toleration { key?: string; operator?: string; value?: string; effect?: string; tolerationSeconds?: number }
export interface Taint { key: string; value?: string; effect: string; timeAdded?: string }

export interface ReplicaSet extends KubeObject {
  spec: { replicas?: number; minReadySeconds?: number; selector: LabelSelector; template: PodTemplate };
  status?: {
    replicas?: number; fullyLabeledReplicas?: number; readyReplicas?: number; availableReplicas?: number;
    observedGeneration?: number; conditions?: Condition[];
  };
}

export interface DeploymentCondition extends Condition { lastUpdateTime?: string }
export interface Deployment extends KubeObject {
  spec: {
    replicas?: number; selector: LabelSelector; template: PodTemplate; paused?: boolean;
    minReadySeconds?: number; revisionHistoryLimit?: number; progressDeadlineSeconds?: number;
    strategy?: { type?: string; rollingUpdate?: { maxSurge?: IntOrPercent; maxUnavailable?: IntOrPercent } };
  };
  status?: {
    replicas?: number; updatedReplicas?: number; readyReplicas?: number; availableReplicas?: number;
    unavailableReplicas?: number; observedGeneration?: number; collisionCount?: number; conditions?: DeploymentCondition[];
  };
}

export interface DaemonSet extends KubeObject {
  spec: {
    selector: LabelSelector; template: PodTemplate; minReadySeconds?: number; revisionHistoryLimit?: number;
    updateStrategy?: { type?: string; rollingUpdate?: { maxSurge?: IntOrPercent; maxUnavailable?: IntOrPercent } };
  };
  status?: Record<string, unknown> & { observedGeneration?: number; collisionCount?: number };
}

export interface StatefulSet extends KubeObject {
  spec: {
    replicas?: number; selector: LabelSelector; template: PodTemplate; serviceName?: string; minReadySeconds?: number;
    podManagementPolicy?: string; revisionHistoryLimit?: number; ordinals?: { start?: number };
    updateStrategy?: { type?: string; rollingUpdate?: { partition?: number; maxUnavailable?: IntOrPercent } };
    volumeClaimTemplates?: unknown[];
  };
  status?: Record<string, unknown> & { currentRevision?: string; updateRevision?: string; collisionCount?: number };
}

export interface ControllerRevision extends KubeObject { revision: number; data?: unknown }

export interface Job extends KubeObject {
  spec: {
    parallelism?: number; completions?: number; backoffLimit?: number; activeDeadlineSeconds?: number;
    ttlSecondsAfterFinished?: number; suspend?: boolean; completionMode?: string; selector?: LabelSelector;
    template: PodTemplate; podFailurePolicy?: unknown; manualSelector?: boolean;
  };
  status?: {
    active?: number; ready?: number; succeeded?: number; failed?: number; terminating?: number;
    startTime?: string; completionTime?: string; conditions?: Condition[]; completedIndexes?: string;
    uncountedTerminatedPods?: { succeeded?: string[]; failed?: string[] };
  };
}

export interface ContainerStatus {
  name: string; ready?: boolean; restartCount?: number;
  state?: { terminated?: { finishedAt?: string; exitCode?: number }; running?: { startedAt?: string }; waiting?: unknown };
}
