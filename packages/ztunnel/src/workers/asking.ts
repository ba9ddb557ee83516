// Owns questions over a message port: each has a number, and its answer or its error finds the way back.
import { MeshError } from "@ambit/core";
import { errorText } from "@ambit/runtime";
import type { Answered } from "./messages.ts";

interface Waiter { resolve(value: unknown): void; reject(error: Error): void }
type Post = (message: { readonly kind: string; readonly id: number; readonly ask: unknown }) => void;

export class Asking<Q extends Record<keyof Q, { ask: unknown; answer: unknown }>> {
  readonly #post: Post;
  readonly #waiting = new Map<number, Waiter>();
  #next = 1;

  constructor(post: Post) {
    this.#post = post;
  }

  /** Rejects with the other side's error, a MeshError if it was one. */
  ask<K extends keyof Q & string>(kind: K, ask: Q[K]["ask"]): Promise<Q[K]["answer"]> {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#post({ kind, id, ask });
    });
  }

  answered(a: Answered): void {
    const waiter = this.#waiting.get(a.id);
    this.#waiting.delete(a.id);
    if ("value" in a) waiter?.resolve(a.value);
    else waiter?.reject(a.code === undefined ? new Error(a.error) : new MeshError(a.code, a.error));
  }
}

/** Works on a question and sends what came of it. */
export function answer(id: number, work: () => unknown, post: (a: Answered) => void): void {
  Promise.resolve().then(work).then((value) => post({ kind: "answer", id, value }),
    (error: unknown) => post({ kind: "answer", id, ...(error instanceof MeshError ? { error: error.message, code: error.code } : { error: errorText(error), code: undefined }) }));
}
