// Owns the certificate service (istio.v1.auth): authenticates the caller, decides the identity, signs, within bounds.
import { status, type Metadata, type sendUnaryData, type ServerUnaryCall, type ServiceDefinition, type UntypedServiceImplementation } from "@grpc/grpc-js";
import { formatIdentity, type Identity } from "@ambit/core";
import { errorText, type Clock, type Logger, type Metrics } from "@ambit/runtime";
import { attest, type AttestRules, type PodLookup, type Reviewed } from "./attest.ts";
import type { Authority } from "./authority.ts";
import { createCertificateMethod, type CertificateRequest, type CertificateResponse } from "./decode.ts";
import { signWorkload } from "./sign.ts";
import { Turns } from "./turns.ts";
import { TokenGate, type Review, type ReviewToken } from "./token-review.ts";

/** Requests being worked on at once: enough to keep token reviews under way, while signing goes one after the other. */
const AT_ONCE = 64;
/** Waiting for their turn: a cluster that starts anew asks from every node at once. At about half a millisecond each, the last waits 2 s. */
const WAITING_MAX = 4_096;
/** Of one peer connection, waiting included; a ztunnel has at most 8 under way. */
export const IN_FLIGHT_PER_CALLER_MAX = 32;

/** All a client hears; the reason is in the log only, because it tells about other pods. */
const IMPERSONATION_REFUSED = "request impersonation authentication failure";
const AUTHENTICATION_REFUSED = "request authenticate failure";

export interface CaServiceOptions extends AttestRules {
  /** Asked for at each request, so that it may be replaced. */
  readonly authority: () => Authority;
  readonly reviewToken: ReviewToken;
  readonly pods: PodLookup;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
}

export interface CaService {
  readonly definition: ServiceDefinition;
  readonly implementation: UntypedServiceImplementation;
  /** The same token check for other services of this server (xDS): the caller's own identity. */
  authenticate(metadata: Metadata): Promise<{ identity: Identity } | { error: string; unavailable: boolean }>;
}

export function createCaService(o: CaServiceOptions): CaService {
  const gate = new TokenGate(o.reviewToken, o.clock);
  const issuer = new Issuer(o, gate);
  return {
    definition: { createCertificate: createCertificateMethod },
    implementation: {
      createCertificate: (call: Call, callback: sendUnaryData<CertificateResponse>) => {
        void issuer.answer(call).then(
          (chain) => callback(null, { chain }),
          (error: unknown) => callback(error instanceof Refusal ? error : issuer.defect(error)),
        );
      },
    },
    authenticate: async (metadata) => {
      const review = await gate.check(first(metadata, "authorization"));
      if (!review.ok) return { error: review.error, unavailable: review.unavailable };
      const { namespace, serviceAccount } = review.reviewed;
      return { identity: { trustDomain: o.trustDomains[0], namespace, serviceAccount } };
    },
  };
}

type Call = ServerUnaryCall<CertificateRequest, CertificateResponse>;

/** What the client gets to know. */
class Refusal extends Error {
  readonly code: status;
  readonly details: string;
  constructor(code: status, details: string) {
    super(details);
    this.code = code;
    this.details = details;
  }
}

class Issuer {
  readonly #o: CaServiceOptions;
  readonly #gate: TokenGate;
  readonly #turns = new Turns({ atOnce: AT_ONCE, waiting: WAITING_MAX, perCaller: IN_FLIGHT_PER_CALLER_MAX }, (task) => void setImmediate(task));

  constructor(o: CaServiceOptions, gate: TokenGate) {
    this.#o = o;
    this.#gate = gate;
  }

  async answer(call: Call): Promise<readonly string[]> {
    this.#count("citadel_server_csr_count", "Certificate requests received.");
    const turn = await this.#turns.take(call.getPeer());
    if (!turn.ok) throw new Refusal(status.RESOURCE_EXHAUSTED, turn.reason);
    try {
      // Nobody waits for it any more.
      if (call.cancelled) throw new Refusal(status.CANCELLED, "the caller has gone");
      return await this.#issue(call);
    } finally {
      turn.done();
    }
  }

  defect(error: unknown): Refusal {
    this.#o.log.error("defect: certificate request failed", { error: errorText(error), stack: error instanceof Error ? error.stack : undefined });
    return new Refusal(status.INTERNAL, "internal error");
  }

  async #issue(call: Call): Promise<readonly string[]> {
    const { request, metadata } = call;
    const peer = call.getPeer();
    const review: Review = await this.#gate.check(first(metadata, "authorization"));
    if (!review.ok) return this.#unauthenticated(peer, review);
    if (request.certSigner !== undefined) throw this.#invalid(peer, "metadata.CertSigner: this CA signs itself and knows no other signers");
    const identity = this.#identityFor(review.reviewed, request, first(metadata, "clusterid"), peer);
    const authority = this.#o.authority();
    if (authority.notAfter <= this.#o.clock.now()) {
      this.#o.log.error("the authority has expired: nothing can be signed until another is put in its place", { expired: new Date(authority.notAfter).toISOString() });
      throw new Refusal(status.UNAVAILABLE, `the authority expired at ${new Date(authority.notAfter).toISOString()}, the time here is ${new Date(this.#o.clock.now()).toISOString()}`);
    }
    const signed = await signWorkload(authority, { csrPem: request.csrPem, identity, ttlSeconds: request.ttlSeconds }, this.#o.clock.now());
    if (!signed.ok) throw this.#invalid(peer, signed.error);
    this.#count("citadel_server_success_cert_issuance_count", "Certificates issued.");
    this.#o.log.debug("certificate issued", { identity: formatIdentity(identity), caller: callerName(review.reviewed), peer });
    return signed.value;
  }

  #identityFor(caller: Reviewed, request: CertificateRequest, clusterId: string | undefined, peer: string): Identity {
    const impersonated = request.impersonated;
    if (impersonated !== undefined && typeof impersonated !== "string")
      throw this.#invalid(peer, "metadata.ImpersonatedIdentity: not a string");
    const attested = attest({ caller, clusterId, impersonated }, this.#o, this.#o.pods);
    if (attested.ok) return attested.identity;
    this.#count("citadel_server_authentication_failure_count", "Certificate requests refused for their caller.");
    this.#o.log.warn("impersonation refused", { caller: callerName(caller), identity: impersonated?.slice(0, 300), peer, error: attested.reason });
    throw new Refusal(status.UNAUTHENTICATED, IMPERSONATION_REFUSED);
  }

  #unauthenticated(peer: string, review: Review & { ok: false }): never {
    this.#count("citadel_server_authentication_failure_count", "Certificate requests refused for their caller.");
    this.#o.log.warn("certificate request not authenticated", { peer, error: review.error });
    if (review.unavailable) throw new Refusal(status.UNAVAILABLE, "tokens cannot be reviewed now");
    throw new Refusal(status.UNAUTHENTICATED, AUTHENTICATION_REFUSED);
  }

  #invalid(peer: string, what: string): Refusal {
    this.#count("citadel_server_csr_parsing_err_count", "Certificate requests refused for their content.");
    this.#o.log.warn("certificate request refused", { peer, error: what });
    return new Refusal(status.INVALID_ARGUMENT, what);
  }

  #count(name: string, help: string): void {
    this.#o.metrics.counter(name, help).with({}).inc();
  }
}

function first(metadata: Metadata, key: string): string | undefined {
  const [value] = metadata.get(key);
  return value === undefined ? undefined : value.toString();
}

const callerName = (r: Reviewed): string => `${r.namespace}/${r.serviceAccount}${r.podName === undefined ? "" : ` (${r.podName})`}`;
