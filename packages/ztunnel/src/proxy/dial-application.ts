// Owns the connection to the application: with the client's own address where that is possible.
import { MeshError } from "@ambit/core";
import { SyscallError } from "@ambit/linux";
import type { TcpConnection } from "@ambit/transport";
import type { ForwardPlan } from "../plan/inbound.ts";
import type { PodContext } from "./pod-context.ts";
import type { StopSignal } from "@ambit/runtime";

/** Where the kernel does not let us keep the client's address, a local one is used and a warning says so. */
export async function dialApplication(pod: PodContext, plan: ForwardPlan, signal: StopSignal): Promise<TcpConnection> {
  const source = pod.config.originalSource ? plan.source : undefined;
  try {
    return await pod.dial({ to: plan.nextHop, source, signal });
  } catch (error) {
    if (source === undefined || !(error instanceof MeshError && error.cause instanceof SyscallError && error.cause.syscall.startsWith("setsockopt"))) throw error;
    pod.log.warn("the client's address cannot be kept", { pod: pod.uid, source, error: error.cause.message });
    return pod.dial({ to: plan.nextHop, signal });
  }
}
