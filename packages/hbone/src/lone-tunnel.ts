// Owns a tunnel for a single stream: the inner one of two, which is never pooled, since every new one may reach another workload.
import type { Limits } from "@ambit/http";
import { systemClock, type Clock, type StopSignal } from "@ambit/runtime";
import type { ByteStream } from "@ambit/transport";
import { TunnelClient, type OpenedTunnel, type OpenRequest } from "./tunnel-client.ts";

export interface LoneTunnelOptions {
  readonly clock?: Clock;
  readonly limits?: Partial<Limits>;
}

/** Takes over `transport`, whose TLS handshake is done; it ends with the stream. Rejects as TunnelClient.open does; the transport is closed then. */
export async function openLoneTunnel(transport: ByteStream, request: OpenRequest, options: LoneTunnelOptions, signal?: StopSignal): Promise<OpenedTunnel> {
  const tunnel = new TunnelClient(transport, { clock: options.clock ?? systemClock, maxStreams: 1, ...(options.limits === undefined ? {} : { limits: options.limits }) });
  try {
    const opened = await tunnel.open(request, signal);
    tunnel.drain();
    return opened;
  } catch (error) {
    tunnel.destroy(undefined);
    throw error;
  }
}
