// Test builder: the octets of a DNS question.
import { TYPE_A } from "./protocol/message.ts";

export function query(name: string, type = TYPE_A, id = 0x1234, more: Uint8Array = Buffer.alloc(0), additional = 0): Buffer {
  const labels = name.split(".").filter((l) => l !== "").map((l) => Buffer.concat([Buffer.from([l.length]), Buffer.from(l)]));
  const head = Buffer.alloc(12);
  head.writeUInt16BE(id, 0);
  head.writeUInt16BE(0x0100, 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt16BE(additional, 10);
  return Buffer.concat([head, ...labels, Buffer.from([0, type >> 8, type & 0xff, 0, 1]), more]);
}

/** An OPT record, to be given as `more` of a query with one additional record. */
export const opt = (udpSize: number, version = 0, flags = 0): Buffer => Buffer.from([0, 0, 41, udpSize >> 8, udpSize & 0xff, 0, version, flags >> 8, flags & 0xff, 0, 0]);

/** A reply to a query: its question repeated, the code, and records of a name server's own making. */
export function replyTo(q: Uint8Array, rcode = 0, records: Uint8Array = Buffer.alloc(0), answers = 0): Buffer {
  const out = Buffer.concat([q, records]);
  out.writeUInt16BE(0x8180 | rcode, 2);
  out.writeUInt16BE(answers, 6);
  return out;
}
