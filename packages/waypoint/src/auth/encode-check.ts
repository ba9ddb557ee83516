// Owns the wire form of a question to a gRPC authorization provider (envoy.service.auth.v3 CheckRequest).
import { formatIdentity, type SocketAddress } from "@ambit/core";
import { externalAuth } from "@ambit/proto";
import { create, toBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { ConnectionFacts, RequestFacts } from "../facts.ts";

export interface CheckQuestion {
  readonly connection: ConnectionFacts;
  /** Epoch milliseconds. */
  readonly now: number;
  readonly policy: string;
  /** undefined: TCP. */
  readonly http: HttpQuestion | undefined;
}

export interface HttpQuestion {
  readonly facts: Pick<RequestFacts, "method" | "authority" | "scheme" | "protocol">;
  /** As the application would see them. */
  readonly fields: readonly string[];
  /** Normalised, with query. */
  readonly target: string;
  /** undefined: none asked for. `asBytes`: in raw_body. */
  readonly body: { readonly bytes: Uint8Array; readonly asBytes: boolean } | undefined;
}

export const encodeCheck = ({ connection, now, policy, http }: CheckQuestion): Uint8Array =>
  toBinary(externalAuth.CheckRequestSchema, create(externalAuth.CheckRequestSchema, {
    attributes: {
      source: { address: addressOf(connection.source), principal: formatIdentity(connection.peer), service: connection.sourceWorkload?.canonicalName ?? "" },
      destination: { address: addressOf(connection.address) },
      request: { time: timestampFromMs(now), ...(http === undefined ? {} : { http: httpOf(http, connection.id) }) },
      contextExtensions: { policy },
    },
  }));

function httpOf({ facts: { method, authority, scheme, protocol }, fields, target, body }: HttpQuestion, id: string): MessageInitShape<typeof externalAuth.HttpRequestSchema> {
  const headers: Record<string, string> = Object.create(null) as Record<string, string>;
  for (const [name, value] of [[":method", method], [":authority", authority], [":path", target], [":scheme", scheme]] as const) headers[name] = value;
  for (let i = 0; i < fields.length; i += 2) {
    const [name = "", value = ""] = [fields[i], fields[i + 1]];
    // A provider must see every line: the last one alone would hide the others.
    headers[name] = headers[name] === undefined ? value : `${headers[name]},${value}`;
  }
  const raw = body?.bytes ?? new Uint8Array();
  return {
    id, method, headers, path: target, host: authority, scheme, size: BigInt(body === undefined ? -1 : raw.length), protocol,
    ...(body === undefined ? {} : body.asBytes ? { rawBody: raw } : { body: new TextDecoder().decode(raw) }),
  };
}

const addressOf = ({ ip, port }: SocketAddress) => ({ socketAddress: { address: ip, portValue: port } });
