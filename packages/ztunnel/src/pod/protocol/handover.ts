// Owns the words between two ztunnels of a node that hand over listening sockets: one question a line, one answer with its descriptors (ADR 0038).
import { err, formatSocketAddress, ok, parseSocketAddress, type Result, type SocketAddress } from "@ambit/core";

/** Questions and answers of another version are not understood: both sides then go on without a hand-over. */
export const HANDOVER_VERSION = 1;
/** A question or an answer, in octets: a uid and some addresses. */
export const HANDOVER_MAX_BYTES = 1024;
/** Descriptors in one answer: as many as one message carries here. */
export const HANDOVER_FDS_MAX = 8;
/** As the kernel counts: a pod has four ports, times two addresses for names, times threads. */
export const HANDOVER_SOCKETS_MAX = 1024;

/** `from`: how many sockets of this pod were handed over already. */
export interface HandoverAsk { readonly uid: string; readonly netnsInode: bigint; readonly from: number }
/** Where the descriptors that came along listen, in their order; `more`: ask again, from there on. */
export interface HandoverAnswer { readonly sockets: readonly SocketAddress[]; readonly more: boolean }

export const encodeAsk = (a: HandoverAsk): string => `${JSON.stringify({ version: HANDOVER_VERSION, uid: a.uid, netns: String(a.netnsInode), from: a.from })}\n`;
export const encodeAnswer = (a: HandoverAnswer): string => `${JSON.stringify({ version: HANDOVER_VERSION, sockets: a.sockets.map(formatSocketAddress), more: a.more })}\n`;

export function decodeAsk(line: string): Result<HandoverAsk, string> {
  const read = record(line);
  if (!read.ok) return read;
  const { uid, netns, from } = read.value;
  if (typeof uid !== "string" || uid === "") return err("the question has no uid");
  if (typeof netns !== "string" || !/^\d{1,20}$/.test(netns)) return err("the question names no network namespace");
  if (typeof from !== "number" || !Number.isInteger(from) || from < 0 || from > HANDOVER_SOCKETS_MAX) return err(`"from" is not a number up to ${HANDOVER_SOCKETS_MAX}`);
  return ok({ uid, netnsInode: BigInt(netns), from });
}

/** `descriptors`: how many came along. */
export function decodeAnswer(line: string, descriptors: number): Result<HandoverAnswer, string> {
  const read = record(line);
  if (!read.ok) return read;
  const { sockets, more } = read.value;
  if (!Array.isArray(sockets) || typeof more !== "boolean") return err("the answer lacks sockets or more");
  if (sockets.length !== descriptors) return err(`${sockets.length} sockets are named, ${descriptors} descriptors came`);
  if (more && sockets.length === 0) return err("there is more, and nothing came");
  const at: SocketAddress[] = [];
  for (const text of sockets as unknown[]) {
    const parsed = parseSocketAddress(typeof text === "string" ? text : "");
    if (!parsed.ok) return parsed;
    at.push(parsed.value);
  }
  return ok({ sockets: at, more });
}

function record(line: string): Result<Readonly<Record<string, unknown>>, string> {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return err("not a line of JSON");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return err("not an object");
  const found = value as Readonly<Record<string, unknown>>;
  return found["version"] === HANDOVER_VERSION ? ok(found) : err(`version ${String(found["version"])} instead of ${HANDOVER_VERSION}`);
}
