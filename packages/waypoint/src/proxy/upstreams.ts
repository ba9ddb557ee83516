// Owns the way out: a byte stream to one chosen endpoint, through a tunnel to its ztunnel or plainly where the mesh says so.
import { formatSocketAddress, MeshError, proxyProtocolHeader, type Identity, type Service, type SocketAddress, type TrafficSettings, type Workload } from "@ambit/core";
import { createPool, formatBaggage, formatForwarded, type Pool } from "@ambit/hbone";
import { verifyExpected, type TlsContexts } from "@ambit/proxy/identity";
import type { Clock } from "@ambit/runtime";
import { connectTls, dialStream, dialTcp, originateTls, type ByteStream } from "@ambit/transport";
import type { NextHop } from "../plan/upstream.ts";

/** Whose connection it is: told to the next ztunnel for its logs, never for policy. */
export interface OnBehalfOf {
  /** undefined: several clients share the stream. */
  readonly source: SocketAddress | undefined;
  readonly sourceWorkload: Workload | undefined;
  readonly service: Service | undefined;
  readonly traceparent: string | undefined;
}

/** What the destination's own policy asks of every stream to it. */
export interface StreamSettings extends Pick<TrafficSettings, "tls" | "proxyProtocol"> {
  /** Spoken inside TLS. */
  readonly alpn: readonly string[];
}

export interface Upstreams {
  /** Rejects with MeshError. */
  open(hop: NextHop, by: OnBehalfOf, settings: StreamSettings, signal?: AbortSignal): Promise<ByteStream>;
  drain(deadlineMs: number): Promise<void>;
}

export interface UpstreamOptions {
  readonly identity: Identity;
  readonly instanceIp: string;
  readonly contexts: TlsContexts;
  readonly clock: Clock;
}

export function createUpstreams(o: UpstreamOptions): Upstreams {
  const pool: Pool = createPool({
    connect: async (key, signal) => {
      const { credentials } = await o.contexts.material(key.source);
      const socket = await dialTcp(key.nextHop, { signal, clock: o.clock });
      const { stream } = await connectTls(socket, { credentials, verify: verifyExpected(key.expected), clock: o.clock, signal });
      return stream;
    },
    clock: o.clock,
  });
  const openPlain = async (hop: NextHop, by: OnBehalfOf, signal: AbortSignal | undefined): Promise<ByteStream> => {
    if (hop.kind === "direct") return dialStream(hop.at, { signal, clock: o.clock });
    const key = { source: o.identity, expected: hop.expect, nextHop: hop.at, sourceIp: o.instanceIp };
    const { stream } = await pool.open(key, { authority: formatSocketAddress(hop.target), headers: headersFor(by) }, signal);
    return stream;
  };
  return {
    async open(hop, by, settings, signal) {
      if (settings.tls?.unusable !== undefined) throw new MeshError("tls-handshake", settings.tls.unusable);
      const stream = await openPlain(hop, by, signal);
      if (settings.proxyProtocol !== undefined && by.source !== undefined)
        stream.write(proxyProtocolHeader(settings.proxyProtocol, by.source, hop.kind === "tunnel" ? hop.target : hop.at));
      const { tls } = settings;
      if (tls === undefined) return stream;
      return originateTls(stream, {
        sni: tls.sni, names: tls.subjectAltNames, rootsPem: tls.rootsPem, insecureSkipVerify: tls.insecureSkipVerify, alpn: settings.alpn, clock: o.clock, signal,
      });
    },
    drain: (deadlineMs) => pool.drain(deadlineMs),
  };
}

function headersFor(by: OnBehalfOf): Record<string, string> {
  const { sourceWorkload: w } = by;
  const forwarded = formatForwarded({ ...(by.source === undefined ? {} : { for: by.source }), ...(by.service === undefined ? {} : { host: by.service.hostname }) });
  return {
    ...(forwarded === "" ? {} : { forwarded }),
    ...(w === undefined ? {} : { baggage: formatBaggage({
      cluster: w.clusterId, namespace: w.namespace, workload: { type: w.workloadType, name: w.workloadName }, service: w.canonicalName, version: w.canonicalRevision,
      region: w.locality.region, zone: w.locality.zone,
    }) }),
    ...(by.traceparent === undefined ? {} : { traceparent: by.traceparent }),
  };
}
