// Test builder: the octets of a DNS question.
import { TYPE_A } from "./protocol/message.ts";

export function query(name: string, type = TYPE_A, id = 0x1234, more = Buffer.alloc(0), additional = 0): Buffer {
  const labels = name.split(".").filter((l) => l !== "").map((l) => Buffer.concat([Buffer.from([l.length]), Buffer.from(l)]));
  const head = Buffer.alloc(12);
  head.writeUInt16BE(id, 0);
  head.writeUInt16BE(0x0100, 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt16BE(additional, 10);
  return Buffer.concat([head, ...labels, Buffer.from([0, 0, type, 0, 1]), more]);
}
