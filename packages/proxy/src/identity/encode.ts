// Owns the client's wire form of the certificate service (istio.v1.auth).
import type { MethodDefinition } from "@grpc/grpc-js";
import { auth } from "@ambit/proto";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";

export interface CertificateRequest {
  readonly csrPem: string;
  readonly ttlSeconds: number;
  /** The SPIFFE URI of the workload the certificate is for; undefined: the caller's own. */
  readonly impersonated: string | undefined;
}

export const createCertificateMethod: Pick<MethodDefinition<CertificateRequest, readonly string[]>, "path" | "requestSerialize" | "responseDeserialize"> = {
  path: "/istio.v1.auth.IstioCertificateService/CreateCertificate",
  requestSerialize: (r) => Buffer.from(toBinary(auth.IstioCertificateRequestSchema, create(auth.IstioCertificateRequestSchema, {
    csr: r.csrPem, validityDuration: BigInt(Math.round(r.ttlSeconds)), metadata: r.impersonated === undefined ? {} : { ImpersonatedIdentity: r.impersonated },
  }))),
  responseDeserialize: (bytes) => fromBinary(auth.IstioCertificateResponseSchema, bytes).certChain,
};
