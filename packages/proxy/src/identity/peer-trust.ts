// Owns the trust in peers beyond the handshake: each tunnel's peer is judged again when a trust bundle or a revocation list changes.
import { X509Certificate } from "node:crypto";
import { formatIdentity, MeshError, type Identity } from "@ambit/core";
import { anchored, certificates } from "./chain.ts";
import { revokedOn, type Crl } from "./crl.ts";
import type { CertBundle } from "./tls-contexts.ts";

export interface PeerToTrust {
  /** The peer's leaf, DER. */
  readonly leaf: Uint8Array;
  /** Ours, whose bundle the peer was verified with. */
  readonly local: Identity;
  /** Ends the tunnel. */
  readonly cut: (reason: MeshError) => void;
  /** Which side we are on, for telemetry. */
  readonly reporter: "source" | "destination";
}

export interface PeerTrust {
  /** At the handshake, after the chain was verified: why the peer is refused all the same. */
  judge(leaf: Uint8Array, bundle: CertBundle, reporter: PeerToTrust["reporter"]): MeshError | undefined;
  track(peer: PeerToTrust, bundle: CertBundle): Disposable;
  /** A local identity has another bundle: peers that do not lead to it are cut. Returns how many. */
  bundleChanged(local: Identity, bundle: CertBundle): number;
  /** The lists changed: peers that are on one are cut. Returns how many. */
  listsChanged(): number;
}

export interface PeerTrustOptions {
  readonly crls: () => readonly Crl[];
  readonly onRevoked: (reporter: PeerToTrust["reporter"]) => void;
}

interface Tracked { readonly peer: PeerToTrust; readonly leaf: X509Certificate; bundle: Bundle }
interface Bundle { readonly text: string; readonly roots: readonly X509Certificate[]; readonly others: readonly X509Certificate[] }

export const createPeerTrust = (o: PeerTrustOptions): PeerTrust => new Trust(o);

class Trust implements PeerTrust {
  readonly #o: PeerTrustOptions;
  readonly #tracked = new Set<Tracked>();
  /** The last bundle parsed of each local identity: all its tunnels share it. */
  readonly #bundles = new WeakMap<CertBundle, Bundle>();

  constructor(o: PeerTrustOptions) {
    this.#o = o;
  }

  judge(leaf: Uint8Array, bundle: CertBundle, reporter: PeerToTrust["reporter"]): MeshError | undefined {
    const crls = this.#o.crls();
    const found = crls.length === 0 ? undefined : revokedOn(new X509Certificate(leaf), this.#parse(bundle).others, crls);
    if (found === undefined) return undefined;
    this.#o.onRevoked(reporter);
    return new MeshError("cert-revoked", `the peer's certificate is revoked: ${found}`);
  }

  track(peer: PeerToTrust, bundle: CertBundle): Disposable {
    const tracked: Tracked = { peer, leaf: new X509Certificate(peer.leaf), bundle: this.#parse(bundle) };
    this.#tracked.add(tracked);
    return { [Symbol.dispose]: () => void this.#tracked.delete(tracked) };
  }

  bundleChanged(local: Identity, bundle: CertBundle): number {
    const uri = formatIdentity(local);
    const now = this.#parse(bundle);
    return this.#cutWhere((t) => {
      if (formatIdentity(t.peer.local) !== uri || t.bundle.text === now.text) return undefined;
      t.bundle = now;
      // A server is not shown a client's intermediates: ours stand in; who cannot be proven is to come again with a whole chain.
      return anchored(t.leaf, now.others, now.roots) ? undefined : new MeshError("trust-changed", "the trust bundle changed, and the peer's certificate does not lead to it");
    });
  }

  listsChanged(): number {
    const crls = this.#o.crls();
    return this.#cutWhere((t) => {
      const found = revokedOn(t.leaf, t.bundle.others, crls);
      if (found === undefined) return undefined;
      this.#o.onRevoked(t.peer.reporter);
      return new MeshError("cert-revoked", `connection closed: ${found}`);
    });
  }

  #cutWhere(why: (t: Tracked) => MeshError | undefined): number {
    let cut = 0;
    for (const t of this.#tracked) {
      const reason = why(t);
      if (reason === undefined) continue;
      this.#tracked.delete(t);
      cut++;
      t.peer.cut(reason);
    }
    return cut;
  }

  #parse(bundle: CertBundle): Bundle {
    let parsed = this.#bundles.get(bundle);
    if (parsed === undefined) {
      const roots = certificates(bundle.rootsPem) ?? [];
      parsed = { text: bundle.rootsPem, roots, others: [...(certificates(bundle.chainPem) ?? []).slice(1), ...roots] };
      this.#bundles.set(bundle, parsed);
    }
    return parsed;
  }
}
