// Owns which rules are asked when: before an installation, and of a mesh that runs.
import { finding, type Finding, type Level } from "./model/finding.ts";
import type { Facts } from "./model/facts.ts";
import { judgeCertificates } from "./rules/certificates.ts";
import { judgeEnrolment } from "./rules/enrolment.ts";
import { judgeNetworks } from "./rules/networks.ts";
import { isInstalled, judgeParts } from "./rules/parts.ts";
import { judgePlatform } from "./rules/platform.ts";
import { judgePolicies } from "./rules/policies.ts";
import { judgeStrict } from "./rules/strict.ts";
import { judgeWaypoints } from "./rules/waypoints.ts";
import { judgeWebhooks } from "./rules/webhooks.ts";

const RANK: Readonly<Record<Level, number>> = { Error: 0, Warning: 1, Info: 2 };
/** The worst first; of one level in the order of the codes. */
const byLevel = (a: Finding, b: Finding): number => RANK[a.level] - RANK[b.level] || (a.code < b.code ? -1 : a.code > b.code ? 1 : 0);

export const judgeBefore = (f: Facts): Finding[] => judgePlatform(f).sort(byLevel);

export function judgeMesh(f: Facts): Finding[] {
  if (!isInstalled(f)) return [finding("AMB0200", "cluster", "no part of the mesh is there", "ambit check --pre, then install it: ambit install")];
  const rules = [judgePlatform, judgeParts, judgeWebhooks, judgeCertificates, judgeEnrolment, judgeNetworks, judgeStrict, judgeWaypoints, judgePolicies];
  return rules.flatMap((judge) => judge(f)).sort(byLevel);
}
