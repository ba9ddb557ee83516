// Owns the `traceparent` header (W3C Trace Context, version 00) that joins the log lines of a tunnel's two ends.
import { err, ok, type Result } from "@ambit/core";
import { randomHex } from "@ambit/runtime";

export interface Traceparent {
  /** 32 hexadecimal digits, not all zero. */
  readonly traceId: string;
  /** 16 hexadecimal digits, not all zero. */
  readonly parentId: string;
  readonly sampled: boolean;
}

const SHAPE = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
const TRACEPARENT_MAX = 256;

/** Fresh for every connection; not sampled: tunnels export no spans. */
export const newTraceparent = (hex: (bytes: number) => string = randomHex): Traceparent => ({ traceId: hex(16), parentId: hex(8), sampled: false });

export const formatTraceparent = (t: Traceparent): string => `00-${t.traceId}-${t.parentId}-0${t.sampled ? 1 : 0}`;

/** Later versions may carry more; version ff and zero ids are invalid. */
export function parseTraceparent(text: string): Result<Traceparent, string> {
  const match = text.length > TRACEPARENT_MAX ? null : SHAPE.exec(text);
  const [, version, traceId = "", parentId = "", flags = "", more] = match ?? [];
  if (match === null || version === "ff" || (version === "00" && more !== undefined) || /^0+$/.test(traceId) || /^0+$/.test(parentId))
    return err(`traceparent ${JSON.stringify(text.slice(0, 100))} is not a W3C trace context`);
  return ok({ traceId, parentId, sampled: (Number.parseInt(flags, 16) & 1) === 1 });
}
