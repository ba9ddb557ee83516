// Owns writing the record of issuers' keys, by one replica at a time: when keys have changed, or their date is old.
import type { Clock, Logger } from "@ambit/runtime";
import { createWorker } from "../status/worker.ts";
import type { KeyKeeper } from "./keeper.ts";
import { planRecord } from "./record.ts";
import type { KeyStore } from "./stores.ts";

/** Keys of many issuers come together after a start: one write for all. */
const GATHER_MS = 500;
const RECORD = "keys of issuers";

export interface KeyRecorder {
  lead(leading: boolean): void;
  stop(): Promise<void>;
}

export function recordKeys(o: { keys: KeyKeeper; store: KeyStore; clock: Clock; log: Logger }): KeyRecorder {
  let timer: { cancel(): void } | undefined;
  let leading = false;
  let said = "";
  const worker = createWorker({
    name: RECORD, clock: o.clock, log: o.log,
    reconcile: () => o.store.save((stored) => {
      const plan = planRecord({ stored, ours: o.keys.good(), wanted: o.keys.wanted(), now: o.clock.now() });
      if (plan.left.join() !== said) o.log.warn("no room in the record for these keys: they are lost if we start while their issuer is away", { keys: plan.left.join() });
      said = plan.left.join();
      return plan.changed ? plan.text : undefined;
    }),
  });
  const unsubscribe = o.keys.onGood(() => {
    if (!leading) return;
    timer ??= o.clock.after(GATHER_MS, () => {
      timer = undefined;
      worker.add(RECORD);
    });
  });
  return {
    lead: (now) => {
      leading = now;
      if (now) worker.resume([RECORD]);
      else worker.pause();
    },
    stop: async () => {
      unsubscribe();
      timer?.cancel();
      await worker.stop();
    },
  };
}
