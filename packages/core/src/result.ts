// Owns the value that a fallible pure function returns: a result, or every problem found.

/** One thing wrong with some input: where (a field path) and what. */
export interface Problem {
  readonly path: string;
  readonly message: string;
}

export type Result<T, E = Problem[]> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: E };

export const ok = <T>(value: T): { readonly ok: true; readonly value: T } => ({ ok: true, value });
export const err = <E>(error: E): { readonly ok: false; readonly error: E } => ({ ok: false, error });
export const problem = (path: string, message: string): Problem => ({ path, message });
export const describeProblems = (problems: readonly Problem[]): string =>
  problems.map((p) => (p.path === "" ? p.message : `${p.path}: ${p.message}`)).join("; ");

/** For the `default` of a switch that covers a union: unreachable by types, loud if a cast lied. */
export function assertNever(value: never, what: string): never {
  throw new Error(`defect: unexpected ${what}: ${JSON.stringify(value)}`);
}

/** On in production: a broken invariant is our defect and must not go on. */
export function invariant(condition: boolean, why: string): asserts condition {
  if (!condition) throw new Error(`defect: ${why}`);
}
