// Owns the conversation with the CA: one request per certificate, over one channel that is rebuilt when it fails or its roots change.
import { status, type Client } from "@grpc/grpc-js";
import { formatIdentity, sameIdentity, type Identity } from "@ambit/core";
import type { Clock } from "@ambit/runtime";
import type { ControlPlane } from "@ambit/xds";
import { readChain, type WorkloadCertificate } from "./chain.ts";
import { createCsr } from "./csr.ts";
import { createCertificateMethod } from "./encode.ts";

/** One request, connecting included. */
export const REQUEST_TIMEOUT_MS = 10_000;

export interface CaClient {
  /** Rejects with an Error that says what the CA or the way to it did wrong. */
  request(identity: Identity): Promise<WorkloadCertificate>;
  close(): void;
}

export interface CaClientOptions {
  /** See createControlPlane; not closed by the client. */
  readonly connect: ControlPlane;
  /** Who the token says that we are: a certificate for this identity needs no impersonation. undefined: a node proxy, which has none of its own. */
  readonly own?: Identity;
  /** SECRET_TTL, milliseconds. */
  readonly ttlMs: number;
  readonly clock: Clock;
}

/** Failures after which a new channel may do better. */
const REOPEN: ReadonlySet<status> = new Set([status.UNAVAILABLE, status.DEADLINE_EXCEEDED, status.INTERNAL, status.UNKNOWN]);

export function createCaClient(o: CaClientOptions): CaClient {
  let channel: Promise<Client> | undefined;
  let closed = false;
  const drop = () => {
    // Calls under way on it still end by themselves.
    void channel?.then((c) => c.close(), () => undefined);
    channel = undefined;
  };
  const stopWatching = o.connect.onRootsChanged(drop);
  const open = (): Promise<Client> => {
    const opening = (channel ??= o.connect.open());
    opening.catch(() => {
      if (channel === opening) channel = undefined;
    });
    return opening;
  };
  return {
    request: async (identity) => {
      if (closed) throw new Error("the CA client is closed");
      const { keyPem, csrPem } = createCsr(identity);
      const used = await open();
      let chain: readonly string[];
      try {
        chain = await call(used, o, { csrPem, ttlSeconds: o.ttlMs / 1000, impersonated: o.own !== undefined && sameIdentity(o.own, identity) ? undefined : formatIdentity(identity) });
      } catch (error) {
        if (error instanceof CaError && REOPEN.has(error.grpc) && (await channel?.catch(() => undefined)) === used) drop();
        throw error;
      }
      const read = readChain(chain, identity, keyPem, o.clock.now());
      if (!read.ok) throw new Error(read.error);
      return read.value;
    },
    close: () => {
      closed = true;
      stopWatching();
      drop();
    },
  };
}

async function call(client: Client, o: CaClientOptions, request: Parameters<typeof createCertificateMethod.requestSerialize>[0]): Promise<readonly string[]> {
  const metadata = await o.connect.metadata();
  const m = createCertificateMethod;
  return new Promise((resolve, reject) => {
    const deadline = new Date(o.clock.now() + REQUEST_TIMEOUT_MS);
    client.makeUnaryRequest(m.path, m.requestSerialize, m.responseDeserialize, request, metadata, { deadline }, (error, chain) => {
      if (error === null) resolve(chain ?? []);
      else reject(new CaError(error.code, `CA ${o.connect.address}: ${status[error.code]}: ${error.details}`));
    });
  });
}

class CaError extends Error {
  readonly grpc: status;
  constructor(grpc: status, message: string) {
    super(message);
    this.grpc = grpc;
  }
}
