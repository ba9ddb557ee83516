// Owns a pod's sandbox: its network namespace, attached by the CNI chain, and the record that lets a restarted kubelet find it.
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { errorText, newUuid, type Logger } from "@ambit/runtime";
import type { Cni } from "../cni.ts";
import { createNetns, netnsOf, removeNetns } from "../netns.ts";
import type { CniPod, PortMapping } from "../plan/cni.ts";
import type { NodePod } from "../plan/pod-spec.ts";

/** Kept as pod.json; `pod` is the last version seen, for tearing down what the API no longer knows. */
export interface PodRecord {
  readonly pod: NodePod;
  readonly startedAtMs: number;
  readonly sandboxId?: string;
  readonly ips?: readonly string[];
  readonly terminal?: { readonly phase: "Succeeded" | "Failed"; readonly reason?: string; readonly message?: string };
}

export function readPodRecord(dir: string): PodRecord | undefined {
  try {
    return JSON.parse(readFileSync(join(dir, "pod.json"), "utf8")) as PodRecord;
  } catch {
    return undefined;
  }
}
export function writePodRecord(dir: string, record: PodRecord): void {
  mkdirSync(dir, { recursive: true, mode: 0o711 });
  writeFileSync(join(dir, "pod.json.new"), JSON.stringify(record), { mode: 0o600 });
  renameSync(join(dir, "pod.json.new"), join(dir, "pod.json"));
}

const cniPod = (pod: NodePod, sandboxId: string): CniPod => ({ namespace: pod.metadata.namespace ?? "", name: pod.metadata.name, uid: pod.metadata.uid ?? "", sandboxId });

export const hostPortsOf = (pod: NodePod): PortMapping[] =>
  pod.spec.hostNetwork === true ? [] : [...pod.spec.containers, ...(pod.spec.initContainers ?? [])].flatMap((c) => (c.ports ?? []).filter((p) => (p.hostPort ?? 0) > 0).map((p) => ({ hostPort: p.hostPort ?? 0, containerPort: p.containerPort, protocol: (p.protocol ?? "TCP").toLowerCase(), hostIP: p.hostIP ?? "" })));

/** A namespace with its addresses. On failure everything is undone and the plugin's words are thrown. */
export async function createSandbox(root: string, cni: Cni, pod: NodePod, note: (sandboxId: string) => void): Promise<{ sandboxId: string; ips: string[] }> {
  const sandboxId = newUuid();
  const ns = netnsOf(root, sandboxId);
  note(sandboxId);
  try {
    await createNetns(ns);
    return { sandboxId, ips: await cni.add(cniPod(pod, sandboxId), ns.inNode, hostPortsOf(pod)) };
  } catch (error) {
    await cni.remove(cniPod(pod, sandboxId), ns.inNode);
    await removeNetns(ns);
    throw error;
  }
}

export async function removeSandbox(root: string, cni: Cni, pod: NodePod, sandboxId: string, log: Logger): Promise<void> {
  const ns = netnsOf(root, sandboxId);
  const problems = await cni.remove(cniPod(pod, sandboxId), ns.inNode).catch((error: unknown) => [errorText(error)]);
  if (problems.length > 0) log.warn("a CNI plugin could not detach a pod", { pod: `${pod.metadata.namespace}/${pod.metadata.name}`, problems });
  await removeNetns(ns);
}

export const sandboxAlive = (root: string, sandboxId: string): boolean => existsSync(netnsOf(root, sandboxId).path);
