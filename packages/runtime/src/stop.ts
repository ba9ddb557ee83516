// Owns the order to stop in its cheapest form: what AbortSignal says, without an EventTarget behind it. One is made for every connection.

/** The part of AbortSignal that work listens to; an AbortSignal is one. */
export interface StopSignal {
  readonly aborted: boolean;
  /** Why, once aborted. */
  readonly reason: unknown;
  addEventListener(type: "abort", listener: () => void, options?: { once?: boolean }): void;
  removeEventListener(type: "abort", listener: () => void): void;
}

/** Both the signal and the hand on it. */
export class Stop implements StopSignal {
  /** One listener is the rule, and needs no list. */
  #listener: (() => void) | undefined;
  #more: (() => void)[] | undefined;
  #aborted = false;
  #reason: unknown;

  get aborted(): boolean {
    return this.#aborted;
  }

  get reason(): unknown {
    return this.#reason;
  }

  /** Heard at most once. One that is added afterwards is never called, as with AbortSignal. */
  addEventListener(_type: "abort", listener: () => void): void {
    if (this.#aborted) return;
    if (this.#listener === undefined) this.#listener = listener;
    else (this.#more ??= []).push(listener);
  }

  removeEventListener(_type: "abort", listener: () => void): void {
    if (this.#listener === listener) {
      this.#listener = this.#more?.shift();
      return;
    }
    const at = this.#more?.indexOf(listener) ?? -1;
    if (at >= 0) this.#more?.splice(at, 1);
  }

  /** Only the first call counts. Listeners run at once, in the order in which they came. */
  abort(reason: unknown): void {
    if (this.#aborted) return;
    this.#aborted = true;
    this.#reason = reason;
    const [first, more] = [this.#listener, this.#more];
    this.#listener = this.#more = undefined;
    first?.();
    for (const listener of more ?? []) listener();
  }

  /** Stops with another signal too, until the returned function is called. */
  follow(other: StopSignal): () => void {
    const onAbort = (): void => this.abort(other.reason);
    if (other.aborted) onAbort();
    else other.addEventListener("abort", onAbort, { once: true });
    return () => other.removeEventListener("abort", onAbort);
  }
}

export function throwIfStopped(signal: StopSignal | undefined): void {
  if (signal?.aborted === true) throw signal.reason;
}
