// Owns the wire form of the certificate service: requests in, responses out. Throws on bytes that are not protobuf.
import type { MethodDefinition } from "@grpc/grpc-js";
import { auth } from "@ambit/proto";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";

export interface CertificateRequest {
  readonly csrPem: string;
  readonly ttlSeconds: bigint;
  /** undefined when absent; any other type than string is kept to be refused. */
  readonly impersonated: unknown;
  readonly certSigner: unknown;
}

export interface CertificateResponse {
  readonly chain: readonly string[];
}

export const createCertificateMethod: MethodDefinition<CertificateRequest, CertificateResponse> = {
  path: "/istio.v1.auth.IstioCertificateService/CreateCertificate",
  requestStream: false,
  responseStream: false,
  requestSerialize: (r) => {
    const metadata = typeof r.impersonated === "string" ? { ImpersonatedIdentity: r.impersonated } : {};
    return bytes(toBinary(auth.IstioCertificateRequestSchema,
      create(auth.IstioCertificateRequestSchema, { csr: r.csrPem, validityDuration: r.ttlSeconds, metadata })));
  },
  requestDeserialize: (b) => {
    const m = fromBinary(auth.IstioCertificateRequestSchema, b);
    const metadata = new Map(Object.entries(m.metadata ?? {}));
    return { csrPem: m.csr, ttlSeconds: m.validityDuration, impersonated: metadata.get("ImpersonatedIdentity"), certSigner: metadata.get("CertSigner") };
  },
  responseSerialize: (r) =>
    bytes(toBinary(auth.IstioCertificateResponseSchema, create(auth.IstioCertificateResponseSchema, { certChain: [...r.chain] }))),
  responseDeserialize: (b) => ({ chain: fromBinary(auth.IstioCertificateResponseSchema, b).certChain }),
};

const bytes = (u: Uint8Array): Buffer => Buffer.from(u.buffer, u.byteOffset, u.byteLength);
