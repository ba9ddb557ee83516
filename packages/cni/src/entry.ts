// Owns what the agent knows of one pod that is in the mesh, or on its way in or out.
import type { Enrolment } from "./pods/report.ts";
import type { PodRules } from "./rules/inpod.ts";
import type { EnrolledPod } from "./ztunnel/server.ts";

/**
 * joining: on its way in. enrolled: all done and announced. leaving: announced as gone, nothing new is redirected, what was
 * redirected may end.
 */
type Phase = "joining" | "enrolled" | "leaving";

export interface Entry extends EnrolledPod {
  readonly ips: readonly string[];
  readonly rules: PodRules;
  phase: Phase;
  /** The redirection as read back from the namespace; undefined: none is there, or not as it should be. */
  standing: string | undefined;
  /** Rules of ours may be in the namespace, whole or in part: leaving has something to take away. */
  touched: boolean;
  /** A ztunnel has acknowledged it: its listeners are bound. */
  accepted: boolean;
  /** The node's probe rule names its addresses (or is about to). */
  probed: boolean;
  /** The watch has shown this pod, so that its absence means that it is gone. */
  listed: boolean;
  annotated: boolean;
  reported: Enrolment | undefined;
  leavingSince: number;
  /** ztunnel let go of a leaving pod at this time. */
  cutSince: number | undefined;
}
