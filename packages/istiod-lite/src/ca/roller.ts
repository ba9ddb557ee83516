// Owns the roll of a self-signed root: begun when it gets old or somebody asks, ended when nobody uses the old one. Leader only.
import { errorText, type Clock, type Logger } from "@ambit/runtime";
import type { SelfSignedRoot } from "../root-secret.ts";
import { createSelfSigned, ROOT_LIFETIME_MS } from "./authority.ts";
import type { AuthorityKeeper } from "./keeper.ts";

/** With less than this left a root is rolled: years before its end, because nothing else tells of it. */
const ROLL_LEFT_MS = ROOT_LIFETIME_MS / 5;
const LOOK_EVERY_MS = 10_000;

export interface Roller {
  lead(leading: boolean): void;
  /** Looks now. Never rejects. */
  look(): Promise<void>;
  stop(): void;
}

export function createRoller(o: { root: SelfSignedRoot; keeper: AuthorityKeeper; trustDomain: string; clock: Clock; log: Logger }): Roller {
  const { root, keeper, clock, log } = o;
  let leading = false;

  const step = async (): Promise<void> => {
    const state = await root.state();
    if (state === undefined) return;
    const { authority, previous } = state;
    if (previous !== undefined) {
      if (keeper.current().anchor !== authority.anchor || keeper.inUse(previous.anchor)) return;
      await root.finish();
      log.info("the old root is not used any more and is gone", { root: previous.anchor });
      await keeper.refresh();
      return;
    }
    const left = authority.notAfter - clock.now();
    if (!state.rollAsked && left > ROLL_LEFT_MS) return;
    const next = await createSelfSigned(o.trustDomain, clock.now());
    await root.roll(next);
    log.info("rolling the root", { from: authority.anchor, to: next.anchor, because: state.rollAsked ? "somebody asked" : `it has ${Math.round(left / 86_400_000)} days left` });
    await keeper.refresh();
  };
  const look = async (): Promise<void> => {
    if (!leading) return;
    try {
      await step();
    } catch (error) {
      log.warn("the root's roll cannot go on now, will look again", { error: errorText(error), retry_ms: LOOK_EVERY_MS });
    }
  };
  const timer = clock.every(LOOK_EVERY_MS, () => void look());
  return {
    lead: (now) => {
      leading = now;
      void look();
    },
    look,
    stop: () => timer.cancel(),
  };
}
