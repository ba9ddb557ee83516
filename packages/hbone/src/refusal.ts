// Owns what a refused tunnel request tells the client's proxy beyond its status: the code, and the policy that said no.
import { FAULT_CODES, type Denial, type FaultCode, type PolicyKey } from "@ambit/core";

/** Peers that do not know it pass it over. Its reader is a mesh proxy that proved its identity, never an application. */
export const REFUSAL_HEADER = "x-ambit-refusal";

export interface Refusal {
  readonly code: FaultCode;
  readonly reason?: Denial["reason"];
  readonly policy?: PolicyKey;
}

const REASONS: readonly string[] = ["explicit", "missing-policy", "no-allow-matched"] satisfies Denial["reason"][];
/** Kubernetes names, and the underscore of converted policies. */
const POLICY = /^[a-z0-9][a-z0-9.-]{0,252}\/[a-z0-9][a-z0-9._-]{0,252}$/;
/** A code, a reason and the longest policy. */
const REFUSAL_MAX = 600;

/** `policy-denied; reason=explicit; policy=ns/name` */
export function formatRefusal(r: Refusal): string {
  const policy = r.policy !== undefined && POLICY.test(r.policy) ? r.policy : undefined;
  return [r.code, ...(r.reason === undefined ? [] : [`reason=${r.reason}`]), ...(policy === undefined ? [] : [`policy=${policy}`])].join("; ");
}

/** undefined for anything that is not exactly of our form: it only serves people, and must not bring a log to say what it likes. */
export function parseRefusal(text: string | undefined): Refusal | undefined {
  if (text === undefined || text.length > REFUSAL_MAX) return undefined;
  const [first, ...more] = text.split("; ");
  const code = FAULT_CODES.find((c) => c === first);
  if (code === undefined) return undefined;
  const out: { code: FaultCode; reason?: Denial["reason"]; policy?: PolicyKey } = { code };
  for (const part of more) {
    const value = part.slice(part.indexOf("=") + 1);
    if (part.startsWith("reason=") && isReason(value)) out.reason = value;
    else if (part.startsWith("policy=") && POLICY.test(value)) out.policy = value;
    else return undefined;
  }
  return out;
}

const isReason = (text: string): text is Denial["reason"] => REASONS.includes(text);

/**
 * RST_STREAM with this code says that a policy change ended the stream. It is of the range nobody registered; a peer that does not know
 * it takes it for an error of the stream (RFC 9113 §7), which is what it got anyway.
 */
export const REVOKED_CODE = 0x41_4d_42_50;
