// Owns the handshake that HTTP/1 websockets have and HTTP/2 ones (RFC 8441) have not: keys, and the proof of having understood (RFC 6455 §4.2.2).
import { createHash, randomBytes } from "node:crypto";
import { first, remove, set } from "./fields.ts";

const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

const acceptOf = (key: string): string => createHash("sha1").update(key + GUID).digest("base64");

/** Changes the fields of the request that leaves as its connection needs them. Returns the client's key, if it is one of HTTP/1. */
export function prepareWebsocket(leaving: string[], client: readonly string[], protocol: "http1" | "http2"): string | undefined {
  const key = first(client, "sec-websocket-key");
  if (protocol === "http2") remove(leaving, "sec-websocket-key");
  else if (key === undefined) set(leaving, "sec-websocket-key", randomBytes(16).toString("base64"));
  return key;
}

/** In the answer's fields, for the client's own key. */
export function acceptWebsocket(fields: string[], key: string | undefined): void {
  remove(fields, "sec-websocket-accept");
  if (key !== undefined) fields.push("sec-websocket-accept", acceptOf(key));
}
