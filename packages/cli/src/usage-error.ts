// Owns the difference between "you asked wrongly" and "we broke": the first has a sentence and no stack.

/** A message for the person at the terminal; exit code 1 unless said otherwise. */
export class UsageError extends Error {
  readonly exitCode: number;
  constructor(message: string, options: ErrorOptions & { exitCode?: number } = {}) {
    super(message, options);
    this.exitCode = options.exitCode ?? 1;
  }
}
