// Owns the way of a push into the state: decoded in slices between which connections are served, applied in one step, one push after the other.
import type { Problem } from "@ambit/core";
import { prepareAddresses, preparePolicies, type Change, type ProxyState } from "@ambit/proxy/state";
import { nextTurn, type Clock, type LoopWatch } from "@ambit/runtime";
import { ADDRESS_TYPE } from "@ambit/xds";

/** Resources decoded before the time is looked at: some tenths of a millisecond. */
const DECODE_AT_ONCE = 64;
/** Connections wait at most about so long for a push that is decoded between them. */
const DECODE_SLICE_MS = 5;

export interface Push {
  readonly upserts: readonly { readonly name: string; readonly bytes: Uint8Array }[];
  readonly removed: readonly string[];
}
export interface PushOptions { readonly state: Pick<ProxyState, "apply">; readonly clock: Clock; readonly loop?: LoopWatch | undefined }

/** Applies what is good; what is refused is the NACK. A small push is done when this returns, a large one takes its time. */
export function applyPush(o: PushOptions, typeUrl: string, push: Push): readonly Problem[] | Promise<readonly Problem[]> {
  const prepare = typeUrl === ADDRESS_TYPE ? prepareAddresses : preparePolicies;
  const apply = ({ changes, rejects }: { readonly changes: readonly Change[]; readonly rejects: readonly Problem[] }): readonly Problem[] => {
    if (o.loop === undefined) o.state.apply({ changes });
    else o.loop.during(`a push of ${changes.length} resources`, () => o.state.apply({ changes }));
    return rejects;
  };
  if (push.upserts.length > DECODE_AT_ONCE) return prepareInSlices(o.clock, prepare, push).then(apply);
  const { batch, rejects } = prepare(push);
  return apply({ changes: batch.changes, rejects });
}

async function prepareInSlices(clock: Clock, prepare: typeof prepareAddresses, push: Push): Promise<{ changes: Change[]; rejects: Problem[] }> {
  const changes: Change[] = [...prepare({ upserts: [], removed: push.removed }).batch.changes];
  const rejects: Problem[] = [];
  let began = clock.monotonic();
  for (let at = 0; at < push.upserts.length; at += DECODE_AT_ONCE) {
    const part = prepare({ upserts: push.upserts.slice(at, at + DECODE_AT_ONCE), removed: [] });
    changes.push(...part.batch.changes);
    rejects.push(...part.rejects);
    if (clock.monotonic() - began < DECODE_SLICE_MS) continue;
    await nextTurn();
    began = clock.monotonic();
  }
  return { changes, rejects };
}

/** Pushes that arrive in parts, from the thread that answers for them. */
export class PushQueue {
  readonly #o: PushOptions;
  #upserts: Push["upserts"][number][] = [];
  #removed: string[] = [];
  #queue: Promise<unknown> = Promise.resolve();

  constructor(options: PushOptions) {
    this.#o = options;
  }

  take(part: Push & { readonly typeUrl: string; readonly last: boolean }): void {
    this.#upserts.push(...part.upserts);
    this.#removed.push(...part.removed);
    if (!part.last) return;
    const push = { upserts: this.#upserts, removed: this.#removed };
    this.#upserts = [];
    this.#removed = [];
    // What is refused here was refused, and answered, where it came from.
    this.#queue = this.#queue.then(() => applyPush(this.#o, part.typeUrl, push));
  }
}
