// Owns what a validating walk carries along: its errors, and how many it keeps.
import type { FieldError } from "./field-error.ts";

/** Errors kept for one object; a hostile object could produce one for each of its million items. */
const MAX_ERRORS = 200;

export interface Walk {
  errors: FieldError[];
  /** Rules to be run once the shape of everything is known to be right; absent where no rules count. */
  pending?: (() => void)[];
  /** What rules say of unchanged parts. */
  warnings?: string[];
  /** Numbers are held to their formats (int32 and the like), as Go's types are and custom kinds are not. */
  numberFormats?: boolean;
  /** This part is unchanged since the stored object: it was accepted once and is not held against the user again. */
  unchanged: boolean;
}

export function report(walk: Walk, error: FieldError): void {
  if (!walk.unchanged && !full(walk)) walk.errors.push(error);
}

/** No further error would be kept: the rest of a list needs no look. */
export function full(walk: Walk): boolean {
  return walk.errors.length >= MAX_ERRORS;
}
