// Owns the gRPC method of delta xDS as grpc-js wants it described.
import type { MethodDefinition } from "@grpc/grpc-js";
import type { DeltaRequest } from "../protocol/messages.ts";
import { decodeRequest } from "./decode.ts";
import { asBuffer, encodeRequest } from "./encode.ts";

export const DELTA_PATH = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

/** Responses stay bytes here: servers concatenate what is encoded already, clients decode where they can refuse. */
export const deltaMethod: MethodDefinition<DeltaRequest, Uint8Array> = {
  path: DELTA_PATH,
  requestStream: true,
  responseStream: true,
  requestSerialize: encodeRequest,
  requestDeserialize: decodeRequest,
  responseSerialize: asBuffer,
  responseDeserialize: (bytes) => bytes,
};
