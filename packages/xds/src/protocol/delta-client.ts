// Owns the client's half of delta xDS over all its types: what it holds at which version, what it asked for, how it answers.
// A deterministic machine; streams, handlers and waiting live in client/.
import type { Problem } from "@ambit/core";
import { SetChecksum } from "./checksum.ts";
import { WILDCARD, type DeltaRequest, type DeltaResource, type DeltaResponse, type XdsNode } from "./messages.ts";

/** Names that may wait for an answer at once: beyond it a new lookup is refused rather than queued without end. */
export const OUTSTANDING_MAX = 10_000;
/** A NACK is read by people in a log line: enough to name every usual culprit. */
export const NACK_TEXT_MAX = 16_384;

export interface ClientType {
  readonly typeUrl: string;
  /** Explicit names instead of everything. */
  readonly onDemand: boolean;
}

export interface Answer {
  readonly typeUrl: string;
  readonly name: string;
  readonly found: boolean;
}

interface TypeState {
  readonly onDemand: boolean;
  /** Version last received by name; "" when the type has none or the last one was refused: the server then sends it again. */
  readonly held: Map<string, string>;
  readonly outstanding: Set<string>;
  /** A complete push was accepted without a problem at least once since the start. */
  accepted: boolean;
  /** Over `held`. */
  readonly checksum: SetChecksum;
  /** The last audit found a loss that resuming was to repair: the next stream asks for everything if it finds one again. */
  suspect: "no" | "resume" | "all";
}

export class DeltaClient {
  readonly #types = new Map<string, TypeState>();
  #connected = false;

  constructor(types: readonly ClientType[]) {
    for (const t of types)
      this.#types.set(t.typeUrl, { onDemand: t.onDemand, held: new Map(), outstanding: new Set(), accepted: false, checksum: new SetChecksum(), suspect: "no" });
  }

  /** The requests that open a stream: one per type, each with the whole node and everything held. */
  open(node: XdsNode): DeltaRequest[] {
    this.#connected = true;
    return [...this.#types].map(([typeUrl, t]) => {
      const initialVersions = t.suspect === "all" ? new Map([...t.held.keys()].map((name) => [name, ""])) : new Map(t.held);
      if (t.suspect === "all") t.suspect = "no";
      for (const name of t.outstanding) if (!initialVersions.has(name)) initialVersions.set(name, "");
      const star = t.onDemand ? [WILDCARD] : [];
      return { node, typeUrl, subscribe: star, unsubscribe: star, initialVersions, nonce: "", error: undefined };
    });
  }

  close(): void {
    this.#connected = false;
  }

  /** False for a type that nobody asked for: such a response is only acknowledged. */
  knows(typeUrl: string): boolean {
    return this.#types.has(typeUrl);
  }

  /**
   * Books a response whose content was handed on, and gives the answer for the wire. `problems` carry the resource name as
   * path: those resources count as not received, all others as applied. An ACK carries no subscription change. `lost`: what is held is not what the server
   * says it must be, so the stream should be opened anew.
   */
  settle(res: DeltaResponse, problems: readonly Problem[]): { reply: DeltaRequest; answers: Answer[]; lost: boolean } {
    const type = this.#types.get(res.typeUrl);
    const answers: Answer[] = [];
    if (type !== undefined) {
      const refused = new Set(problems.map((p) => p.path));
      for (const r of res.resources) {
        hold(type, r.name, refused.has(r.name) ? "" : r.version);
        for (const name of [r.name, ...r.aliases])
          if (type.outstanding.delete(name)) answers.push({ typeUrl: res.typeUrl, name, found: true });
      }
      for (const name of res.removed) {
        hold(type, name, undefined);
        if (type.outstanding.delete(name)) answers.push({ typeUrl: res.typeUrl, name, found: false });
      }
      if (problems.length === 0 && !res.partial) type.accepted = true;
    }
    const lost = type !== undefined && res.checksum !== undefined && !audited(type, res.checksum);
    const error = problems.length === 0 ? undefined : nackText(problems);
    return { reply: { ...request(res.typeUrl), nonce: res.nonce, error }, answers, lost };
  }

  /** Asks for one name. "held": it is already here. Without a request the question goes out with the next stream. */
  want(typeUrl: string, name: string): { kind: "held" } | { kind: "full" } | { kind: "asked"; request: DeltaRequest | undefined } {
    const type = this.#types.get(typeUrl);
    if (type === undefined || !type.onDemand) return { kind: "held" };
    if (type.held.has(name)) return { kind: "held" };
    if (type.outstanding.has(name)) return { kind: "asked", request: undefined };
    if (type.outstanding.size >= OUTSTANDING_MAX) return { kind: "full" };
    type.outstanding.add(name);
    return { kind: "asked", request: this.#connected ? { ...request(typeUrl), subscribe: [name] } : undefined };
  }

  /** Nobody waits for this name any more: do not ask again on the next stream. */
  giveUp(typeUrl: string, name: string): void {
    this.#types.get(typeUrl)?.outstanding.delete(name);
  }

  /** Every wildcard type was accepted cleanly once. */
  get ready(): boolean {
    return [...this.#types.values()].every((t) => t.onDemand || t.accepted);
  }

  held(typeUrl: string): ReadonlyMap<string, string> {
    return this.#types.get(typeUrl)?.held ?? new Map();
  }
}

function hold(type: TypeState, name: string, version: string | undefined): void {
  const old = type.held.get(name);
  if (old !== undefined) type.checksum.toggle(name, old);
  if (version === undefined) {
    type.held.delete(name);
    return;
  }
  type.held.set(name, version);
  type.checksum.toggle(name, version);
}

/** Resuming repairs what differs between the two tables; if that was not enough, nothing that is held is believed any more. */
function audited(type: TypeState, checksum: string): boolean {
  if (type.checksum.text === checksum) {
    type.suspect = "no";
    return true;
  }
  // What was refused is held under no version, and both ends know it.
  if ([...type.held.values()].includes("")) return true;
  type.suspect = type.suspect === "no" ? "resume" : "all";
  return false;
}

const request = (typeUrl: string): DeltaRequest => ({
  node: undefined, typeUrl, subscribe: [], unsubscribe: [], initialVersions: new Map(), nonce: "", error: undefined,
});

/** `name: reason; name2: reason2`, cut where it gets too long, saying how many more there are. */
export function nackText(problems: readonly Problem[]): string {
  let out = "";
  for (const [i, p] of problems.entries()) {
    const part = `${i === 0 ? "" : "; "}${p.path}: ${p.message}`;
    if (out.length + part.length > NACK_TEXT_MAX) return `${out}; and ${problems.length - i} more`;
    out += part;
  }
  return out;
}

/** The last entry of each name wins, as it does when they are applied in order. */
export function lastByName(resources: readonly DeltaResource[]): readonly DeltaResource[] {
  const names = new Set<string>();
  for (const r of resources) names.add(r.name);
  return names.size === resources.length ? resources : [...new Map(resources.map((r) => [r.name, r])).values()];
}
