// Owns istioctl's questions over xDS (StreamAggregatedResources, types istio.io/debug…): authenticated like a proxy, scoped to the asker's namespace.
import { status, type Metadata, type MethodDefinition, type ServerDuplexStream } from "@grpc/grpc-js";
import { errorText, type Logger } from "@ambit/runtime";
import type { Authenticated, ClientStatus } from "@ambit/xds";
import type { GrpcService } from "../push/service.ts";
import { CLIENT_CONFIG, decodeDebugRequest, encodeClientConfig, encodeDebugResponse, type DebugRequest } from "./encode-client-config.ts";
import type { DebugRoutes } from "./routes.ts";
import { sees, type Asker } from "./view.ts";

const SYNCZ = "istio.io/debug/syncz";
const DEBUG = "istio.io/debug";
/** One question, its acknowledgement, and a few more: then it is no tool that asks. */
const REQUESTS_MAX = 16;

export interface DebugServiceOptions {
  authenticate(metadata: Metadata): Promise<Authenticated>;
  readonly clients: () => readonly ClientStatus[];
  readonly rootNamespace: string;
  readonly about: { readonly clusterId: string; readonly version: string; readonly identifier: string };
  readonly routes: DebugRoutes;
  readonly log: Logger;
}

const OUR_NONCE = "ambit-debug-";

type Call = ServerDuplexStream<DebugRequest, Uint8Array>;

const method: MethodDefinition<DebugRequest, Uint8Array> = {
  path: "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources",
  requestStream: true, responseStream: true,
  requestSerialize: () => { throw new Error("defect: only a server is here"); },
  requestDeserialize: decodeDebugRequest,
  responseSerialize: (b) => Buffer.from(b.buffer, b.byteOffset, b.byteLength),
  responseDeserialize: (b) => b,
};

export function createDebugService(o: DebugServiceOptions): GrpcService {
  return {
    definition: { streamAggregatedResources: method },
    implementation: {
      streamAggregatedResources: (call: Call) => {
        call.on("error", () => undefined);
        void serve(o, call).catch((error: unknown) => {
          o.log.error("defect: debug request failed", { error: errorText(error) });
          refuse(call, status.INTERNAL, "internal error");
        });
      },
    },
  };
}

async function serve(o: DebugServiceOptions, call: Call): Promise<void> {
  const waiting: DebugRequest[] = [];
  let asker: Asker | undefined;
  let requests = 0;
  let version = 0;
  const answer = (request: DebugRequest): void => {
    // An acknowledgement needs no answer. istioctl's first request carries a nonce of its own making.
    if (asker === undefined || request.nonce.startsWith(OUR_NONCE)) return;
    const resources = resourcesFor(o, asker, request);
    if (resources === undefined) return refuse(call, status.PERMISSION_DENIED, `not answered here, or not to ${asker.identity.namespace}: ${request.typeUrl.slice(0, 100)}`);
    version++;
    call.write(encodeDebugResponse({ typeUrl: request.typeUrl, version: String(version), nonce: `${OUR_NONCE}${version}`, identifier: o.about.identifier, resources }));
  };
  call.on("data", (request: DebugRequest) => {
    if (++requests > REQUESTS_MAX) return refuse(call, status.RESOURCE_EXHAUSTED, `more than ${REQUESTS_MAX} requests`);
    if (asker === undefined) waiting.push(request);
    else answer(request);
  });
  call.on("end", () => call.end());
  const verdict = await o.authenticate(call.metadata);
  if (!("identity" in verdict)) {
    o.log.warn("debug request not authenticated", { peer: call.getPeer(), error: verdict.error });
    return refuse(call, verdict.unavailable === true ? status.UNAVAILABLE : status.UNAUTHENTICATED, "authentication failure");
  }
  asker = { identity: verdict.identity, rootNamespace: o.rootNamespace };
  for (const request of waiting.splice(0)) answer(request);
}

function resourcesFor(o: DebugServiceOptions, asker: Asker, request: DebugRequest): { typeUrl: string; value: Uint8Array }[] | undefined {
  if (request.typeUrl === SYNCZ) return o.clients().filter((c) => sees(asker, c)).map((c) => ({ typeUrl: CLIENT_CONFIG, value: encodeClientConfig(c, o.about) }));
  const [name = ""] = request.resources;
  if (request.typeUrl !== DEBUG || request.resources.length !== 1) return undefined;
  const url = URL.parse(`http://localhost/debug/${name}`);
  const value = url === null ? undefined : o.routes(url.pathname, url.searchParams, asker);
  return value === undefined ? undefined : [{ typeUrl: DEBUG, value: Buffer.from(`${JSON.stringify(value, null, 2)}\n`) }];
}

function refuse(call: Call, code: status, details: string): void {
  call.emit("error", Object.assign(new Error(details), { code, details }));
}
