// Owns the order of what is done for one pod: steps of the same pod one after the other, those of others side by side.
import { errorText, type Logger } from "@ambit/runtime";

export class Turns {
  readonly #log: Logger;
  /** The last step of each pod that has one; as many as there are pods with something to do. */
  readonly #last = new Map<string, Promise<void>>();

  constructor(log: Logger) {
    this.#log = log;
  }

  /** Never rejects: a step that fails is logged, and the next one runs. */
  take(uid: string, step: () => Promise<void>): Promise<void> {
    const turn = (this.#last.get(uid) ?? Promise.resolve()).then(step).catch((error: unknown) => {
      this.#log.warn("a step for a pod failed", { pod: uid, error: errorText(error) });
    });
    this.#last.set(uid, turn);
    void turn.finally(() => { if (this.#last.get(uid) === turn) this.#last.delete(uid); });
    return turn;
  }

  /** Resolves when all steps that were taken so far have ended. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#last.values());
  }
}
