// Owns the error type that shells throw when the world fails: a code of the table, a text, and what caused it.
import type { FaultCode } from "./codes.ts";

export class MeshError extends Error {
  readonly code: FaultCode;
  constructor(code: FaultCode, message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.name = "MeshError";
    this.code = code;
  }
}
