// A program for pods: an external authorizer that allows what says `x-ext-authz: allow`, over HTTP (8000) and over gRPC (9000, envoy.service.auth.v3);
// below /http/ and /grpc/{allowed,denied} it decides by the path, and tells what it was told (the conformance cases of ExternalAuth).
// Usage: authorizer.ts
import http from "node:http";
import { externalAuth } from "@ambit/proto";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Server, ServerCredentials } from "@grpc/grpc-js";

const HTTP_PORT = 8000;
const GRPC_PORT = 9000;
/** google.rpc.Code */
const PERMISSION_DENIED = 7;

const BY_PATH = /^\/(?:http|grpc)\/(allowed|denied)/;
type Told = Readonly<Record<string, string>>;
interface ByPath { readonly allowed: boolean; readonly told: Told; readonly body: string }

/** undefined: not below those paths. */
function byPath(path: string, headers: Readonly<Record<string, string | undefined>>, octets: number): ByPath | undefined {
  const verdict = BY_PATH.exec(path)?.[1];
  if (verdict === undefined) return undefined;
  const seen = { "x-auth-received-body-size": String(octets), "x-auth-received-test-header": headers["x-test-header"] ?? "none", "x-auth-received-cookie": headers["cookie"] ?? "none" };
  return verdict === "allowed" ? { allowed: true, told: { ...seen, "x-user-id": "42" }, body: "" } : { allowed: false, told: { ...seen, "x-auth-error": "access-denied" }, body: "Access denied by external auth server" };
}

http.createServer((request, response) => {
  if (BY_PATH.test(request.url ?? "")) {
    let octets = 0;
    request.on("data", (bytes: Buffer) => { octets += bytes.length; }).on("end", () => {
      const answer = byPath(request.url ?? "", { "x-test-header": String(request.headers["x-test-header"] ?? "none"), cookie: request.headers.cookie }, octets);
      response.writeHead(answer?.allowed === true ? 200 : 403, answer?.told).end(answer?.body);
    });
    return;
  }
  const allowed = request.headers["x-ext-authz"] === "allow";
  const told = { "x-ext-authz-result": allowed ? "allowed" : "denied", "x-asked-path": request.url ?? "", "x-asked-cookie": request.headers.cookie ?? "none" };
  response.writeHead(allowed ? 200 : 418, told).end(allowed ? "" : "denied over HTTP");
}).listen(HTTP_PORT, () => console.log(JSON.stringify({ listening: HTTP_PORT })));

const server = new Server();
server.addService({
  check: {
    path: "/envoy.service.auth.v3.Authorization/Check", requestStream: false, responseStream: false,
    requestSerialize: (m: externalAuth.CheckRequest) => Buffer.from(toBinary(externalAuth.CheckRequestSchema, m)), requestDeserialize: (bytes: Buffer) => fromBinary(externalAuth.CheckRequestSchema, bytes),
    responseSerialize: (m: externalAuth.CheckResponse) => Buffer.from(toBinary(externalAuth.CheckResponseSchema, m)), responseDeserialize: (bytes: Buffer) => fromBinary(externalAuth.CheckResponseSchema, bytes),
  },
}, {
  check: (call: { request: externalAuth.CheckRequest }, done: (error: null, response: externalAuth.CheckResponse) => void) => {
    const { source, request } = call.request.attributes ?? {};
    const answer = byPath(request?.http?.path ?? "", request?.http?.headers ?? {}, request?.http?.body.length ?? 0);
    if (answer !== undefined) {
      const headers = Object.entries(answer.told).map(([key, value]) => ({ header: { key, value } }));
      return done(null, create(externalAuth.CheckResponseSchema, answer.allowed
        ? { status: { code: 0 }, httpResponse: { case: "okResponse", value: { headers } } }
        : { status: { code: PERMISSION_DENIED }, httpResponse: { case: "deniedResponse", value: { status: { code: 403 }, headers, body: answer.body } } }));
    }
    // A connection that is not HTTP has only its identity.
    const allowed = request?.http === undefined ? source?.principal.endsWith("/sa/productpage") === true : request.http.headers["x-ext-authz"] === "allow";
    done(null, create(externalAuth.CheckResponseSchema, allowed
      ? { status: { code: 0 }, httpResponse: { case: "okResponse", value: { headers: [{ header: { key: "x-principal", value: source?.principal ?? "" } }], responseHeadersToAdd: [{ header: { key: "x-checked", value: "grpc" } }] } } }
      : { status: { code: PERMISSION_DENIED }, httpResponse: { case: "deniedResponse", value: { status: { code: 403 }, body: "denied over gRPC" } } }));
  },
});
server.bindAsync(`0.0.0.0:${GRPC_PORT}`, ServerCredentials.createInsecure(), (error) => console.log(JSON.stringify(error === null ? { listening: GRPC_PORT } : { error: error.message })));
