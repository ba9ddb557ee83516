// Owns what a streaming server may do to a pod that runs here: run a command in a container, connect to a port.
import type { Socket } from "node:net";
import { hostKernel } from "@ambit/linux";
import { parseIp } from "@ambit/core";
import { execIn, type ExecOptions, type ExecSession } from "./exec.ts";
import type { PodManager } from "./pods/pod-manager.ts";

export interface PodRef { readonly namespace: string; readonly pod: string; readonly uid?: string }
export interface ContainerRef extends PodRef { readonly container: string }
export type { ExecOptions, ExecSession } from "./exec.ts";

/** What a request named is not here, or not in a state for it; the message is for the user. */
export class RuntimeRefusal extends Error {}

export interface Runtime {
  /** The session's `done` resolves with the exit code. Throws RuntimeRefusal. */
  execInContainer(ref: ContainerRef, options: ExecOptions): ExecSession;
  /** Connects to 127.0.0.1:port inside the pod's network; the socket emits connect or error. Throws RuntimeRefusal. */
  connectInPod(ref: PodRef, port: number): Socket;
  /** Name of the container meant when none is named: the annotated default, else the first. */
  defaultContainer(ref: PodRef): string;
}

export function createRuntime(pods: PodManager, loader: string): Runtime {
  const find = (ref: PodRef) => {
    const worker = pods.find(ref.namespace, ref.pod);
    if (worker === undefined || (ref.uid !== undefined && ref.uid !== worker.uid)) throw new RuntimeRefusal(`pod ${ref.namespace}/${ref.pod} is not on this node`);
    return worker;
  };
  return {
    execInContainer(ref, options) {
      const run = find(ref).slot(ref.container)?.container;
      if (run === undefined || run.exit !== undefined || run.pid === undefined) throw new RuntimeRefusal(`container ${ref.container} of pod ${ref.namespace}/${ref.pod} is not running`);
      return execIn(run, loader, options);
    },
    connectInPod(ref, port) {
      const worker = find(ref);
      const ip = parseIp("127.0.0.1");
      if (!ip.ok) throw new Error("127.0.0.1 is an address");
      const to = { ip: ip.value, port };
      if (worker.netnsPath === undefined) {
        if (worker.pod.spec.hostNetwork !== true) throw new RuntimeRefusal(`pod ${ref.namespace}/${ref.pod} has no network yet`);
        return hostKernel.dial(undefined, to, {});
      }
      const ns = hostKernel.openNetns(worker.netnsPath);
      try {
        return hostKernel.dial(ns, to, {});
      } finally {
        ns[Symbol.dispose]();
      }
    },
    defaultContainer(ref) {
      const { metadata, spec } = find(ref).pod;
      return metadata.annotations?.["kubectl.kubernetes.io/default-container"] ?? spec.containers[0]?.name ?? "";
    },
  };
}
