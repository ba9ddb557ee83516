// Owns how a byte stream breaks: a code, a sentence for people, the cause kept. (Failures to connect are MeshErrors of @ambit/core.)
import { MeshError } from "@ambit/core";

export type StreamFaultCode =
  /** The peer, or the network, broke the stream off. */
  | "reset"
  /** The peer went silent: keep-alive or user timeout. */
  | "timeout"
  /** Any other error of the operating system or of TLS. */
  | "io";

export class StreamFault extends Error {
  override readonly name = "StreamFault";
  readonly code: StreamFaultCode;

  constructor(code: StreamFaultCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}

const BROKEN: ReadonlyMap<string, StreamFaultCode> = new Map([["ECONNRESET", "reset"], ["EPIPE", "reset"], ["ECONNABORTED", "reset"], ["ETIMEDOUT", "timeout"]]);

/** What node:net and node:tls emit on an established stream; faults of ours pass through. */
export function streamFault(error: unknown): Error {
  if (error instanceof StreamFault || error instanceof MeshError) return error;
  return new StreamFault(BROKEN.get(errnoOf(error)) ?? "io", textOf(error), error);
}

const NOT_CONNECTED: ReadonlyMap<string, "connect-refused" | "connect-timeout"> = new Map([["ETIMEDOUT", "connect-timeout"], ["ECONNREFUSED", "connect-refused"],
  ["EHOSTUNREACH", "connect-refused"], ["ENETUNREACH", "connect-refused"], ["EACCES", "connect-refused"], ["EPERM", "connect-refused"]]);

/** A failure to connect, when `error` is one: `what` names the next hop. */
export function connectFault(error: unknown, what: string): MeshError | undefined {
  const code = NOT_CONNECTED.get(errnoOf(error));
  return code === undefined ? undefined : new MeshError(code, `${what}: ${textOf(error)}`, { cause: error });
}

const errnoOf = (error: unknown): string => (error instanceof Error && "code" in error ? String(error.code) : "");
const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
