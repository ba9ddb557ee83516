// Owns our client's half of mutual TLS: whom we expect, whether it is revoked, and that its trust is watched while the connection lives.
import type { Duplex } from "node:stream";
import type { Identity } from "@ambit/core";
import { verifyExpected, type PeerTrust, type TlsMaterial } from "@ambit/proxy/identity";
import type { Clock, StopSignal } from "@ambit/runtime";
import { connectTls, type ByteStream, type Negotiated } from "@ambit/transport";

export interface TrustedPeer {
  readonly local: Identity;
  /** At least one. */
  readonly expected: readonly Identity[];
  readonly material: TlsMaterial;
  readonly signal: StopSignal;
  /** Told who of them it is, and what was agreed on. */
  readonly onPeer?: (identity: Identity, negotiated: Negotiated) => void;
}

/** On a connected socket, or inside another stream. Rejects with MeshError; the transport is destroyed then. */
export async function connectTrusted(o: { readonly trust: PeerTrust; readonly clock: Clock }, transport: Duplex, p: TrustedPeer): Promise<ByteStream> {
  const { credentials, bundle } = p.material;
  const expect = verifyExpected(p.expected);
  let leaf: Uint8Array = new Uint8Array();
  const { stream, peer, negotiated } = await connectTls(transport, {
    credentials, clock: o.clock, signal: p.signal,
    verify: (der) => {
      const id = expect(der);
      const refusal = id.ok ? o.trust.judge(der, bundle, "source") : undefined;
      leaf = der;
      return refusal === undefined ? id : { ok: false, error: refusal };
    },
  });
  const watched = o.trust.track({ leaf, local: p.local, reporter: "source", cut: (reason) => stream.destroy(reason) }, bundle);
  transport.once("close", () => watched[Symbol.dispose]());
  p.onPeer?.(peer, negotiated);
  return stream;
}
