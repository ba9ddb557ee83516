// Owns the `baggage` header: who the source (or, in an answer, the destination) workload says it is. Telemetry only, never policy.
import { err, ok, type Result } from "@ambit/core";

export type BaggageWorkloadType = "deployment" | "cronjob" | "pod" | "job";
export const BAGGAGE_WORKLOAD_TYPES: readonly BaggageWorkloadType[] = ["deployment", "cronjob", "pod", "job"];

export interface Baggage {
  readonly cluster?: string;
  readonly namespace?: string;
  readonly workload?: { readonly type: BaggageWorkloadType; readonly name: string };
  readonly service?: string;
  readonly version?: string;
  readonly region?: string;
  readonly zone?: string;
}

/** Seven names of 253 octets with their keys fit; a peer's header beyond that is not read. */
const BAGGAGE_MAX = 4096;
const VALUE_MAX = 253;
/** The value alphabet of W3C Baggage: printable, without blank, quote, comma, semicolon, backslash. Nothing is percent-decoded. */
const VALUE = /^[!#-+\--:<-[\]-~]{1,253}$/;
/** What we write has no separator of anybody's and no percent sign: every reader agrees on it. */
const WRITTEN = /^[!#$&-+\--:<>-[\]-~]{1,253}$/;

const KEYS = { "k8s.cluster.name": "cluster", "k8s.namespace.name": "namespace", "service.name": "service", "service.version": "version",
  "cloud.region": "region", "cloud.availability_zone": "zone" } as const;

/** In the fixed order of ambient peers. A value outside the alphabet is left out: it could not be read back. */
export function formatBaggage(b: Baggage): string {
  const pairs: readonly (readonly [string, string | undefined])[] = [["k8s.cluster.name", b.cluster], ["k8s.namespace.name", b.namespace],
    [`k8s.${b.workload?.type ?? "pod"}.name`, b.workload?.name], ["service.name", b.service], ["service.version", b.version],
    ["cloud.region", b.region], ["cloud.availability_zone", b.zone]];
  return pairs.filter(([, value]) => value !== undefined && WRITTEN.test(value)).map(([key, value]) => `${key}=${value}`).join(",");
}

/** Unknown keys are passed over, as every baggage reader must; an empty value counts as unset; of a key that comes twice the first stands. */
export function parseBaggage(text: string): Result<Baggage, string> {
  if (text.length > BAGGAGE_MAX) return err(`baggage of ${text.length} octets exceeds ${BAGGAGE_MAX}`);
  const out: { -readonly [K in keyof Baggage]: Baggage[K] } = {};
  for (const member of text.split(",")) {
    const equals = member.indexOf("=");
    if (equals < 0) {
      if (member.trim() === "") continue;
      return err(`baggage member ${JSON.stringify(member.slice(0, VALUE_MAX))} has no "="`);
    }
    const key = member.slice(0, equals).trim();
    const value = (member.slice(equals + 1).split(";")[0] ?? "").trim();
    const workloadType = BAGGAGE_WORKLOAD_TYPES.find((type) => key === `k8s.${type}.name`);
    const known = Object.hasOwn(KEYS, key) ? KEYS[key as keyof typeof KEYS] : undefined;
    if (value === "" || (known === undefined && workloadType === undefined)) continue;
    if (!VALUE.test(value)) return err(`baggage ${key} has a value that is too long or has octets that are not allowed`);
    if (workloadType !== undefined) out.workload ??= { type: workloadType, name: value };
    else if (known !== undefined) out[known] ??= value;
  }
  return ok(out);
}
