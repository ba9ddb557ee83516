// Owns the words a plan uses to say "ask for this, then plan again", and for its reasons.
import type { FaultCode } from "@ambit/core";
import type { Gathered } from "../facts.ts";

export type Need =
  /** Our own pod's workload has not been pushed (yet). */
  | { readonly kind: "own-workload" }
  /** A workload is known only by hostname. */
  | { readonly kind: "dns"; readonly hostname: string }
  /** On demand: the control plane was not asked yet. `network/ip` or `namespace/hostname`. */
  | { readonly kind: "address"; readonly name: string };

/** What the view lacks may only not have been asked for. */
export const lookUp = (gathered: Gathered, name: string): Need | undefined =>
  gathered.absent === undefined || gathered.absent.has(name) ? undefined : { kind: "address", name };

/** One step of a decision: what was asked, what was seen, what followed. */
export interface Step {
  readonly step: string;
  readonly saw: string;
  readonly chose: string;
}
export type Because = readonly Step[];

export interface NeedPlan { readonly kind: "need"; readonly need: Need; readonly because: Because }
export interface DenyPlan {
  readonly kind: "deny";
  readonly code: FaultCode;
  /** For logs: Istio's own words where it has some. */
  readonly message: string;
  readonly because: Because;
}

/** Ports of our own listeners: forwarding to one of them from inside the pod would loop. */
export const OWN_PORTS: ReadonlySet<number> = new Set([15001, 15006, 15008]);
export const RECURSIVE = "attempted recursive call to ourselves";
