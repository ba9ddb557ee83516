// Owns SPIFFE identities: parsed strictly, compared by value.
import { err, ok, type Result } from "../result.ts";

export interface Identity {
  readonly trustDomain: string;
  readonly namespace: string;
  readonly serviceAccount: string;
}

/** RFC 3986 unreserved, lower case trust domains as SPIFFE requires; bounds keep hostile names small. */
const TRUST_DOMAIN = /^[a-z0-9][a-z0-9._-]{0,254}$/;
const SEGMENT = /^[A-Za-z0-9][A-Za-z0-9._-]{0,252}$/;

export const formatIdentity = (id: Identity): string => `spiffe://${principalOf(id)}`;
/** Istio's "principal": the SPIFFE id without its scheme. */
export const principalOf = (id: Identity): string => `${id.trustDomain}/ns/${id.namespace}/sa/${id.serviceAccount}`;
export const sameIdentity = (a: Identity, b: Identity): boolean =>
  a.trustDomain === b.trustDomain && a.namespace === b.namespace && a.serviceAccount === b.serviceAccount;

/** Exactly `spiffe://TD/ns/NS/sa/SA`: no more segments, no escapes, no dots as segments. */
export function parseIdentity(uri: string): Result<Identity, string> {
  if (!uri.startsWith("spiffe://")) return err(`"${printable(uri)}" is not a SPIFFE URI`);
  const parts = uri.slice("spiffe://".length).split("/");
  const [trustDomain = "", ns, namespace = "", sa, serviceAccount = ""] = parts;
  if (parts.length !== 5 || ns !== "ns" || sa !== "sa")
    return err(`"${printable(uri)}" is not of the form spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT`);
  if (!TRUST_DOMAIN.test(trustDomain)) return err(`"${printable(uri)}": bad trust domain`);
  if (!SEGMENT.test(namespace) || !SEGMENT.test(serviceAccount)) return err(`"${printable(uri)}": bad namespace or service account`);
  return ok({ trustDomain, namespace, serviceAccount });
}

const PRINTED_MAX = 200;
const printable = (s: string): string => s.slice(0, PRINTED_MAX).replace(/[^\x20-\x7e]/g, "?");
