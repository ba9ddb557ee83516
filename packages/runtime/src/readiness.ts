// Owns readiness: the process is ready when no named hold is outstanding.

export class Readiness {
  readonly #pending = new Set<string>();
  #waiters: (() => void)[] = [];

  /** Call with the name of something that must happen first; the returned function says that it did. */
  waitFor(name: string): () => void {
    this.#pending.add(name);
    return () => {
      if (!this.#pending.delete(name) || this.#pending.size > 0) return;
      const waiters = this.#waiters;
      this.#waiters = [];
      for (const wake of waiters) wake();
    };
  }

  get ready(): boolean {
    return this.#pending.size === 0;
  }

  get pending(): string[] {
    return [...this.#pending].sort();
  }

  whenReady(): Promise<void> {
    return this.ready ? Promise.resolve() : new Promise((resolve) => this.#waiters.push(resolve));
  }
}
