// Owns the proof that an HTTP/1 websocket client wants to see (RFC 6455 §4.2.2), where the upstream side is HTTP/2 and has none.
import { createHash } from "node:crypto";

const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

export const acceptOf = (key: string): string => createHash("sha1").update(key + GUID).digest("base64");
