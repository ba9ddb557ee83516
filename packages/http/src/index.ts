// Public names of @ambit/http: codecs without I/O.
export { H1Client, type H1ClientEvents } from "./h1/client.ts";
export { CHUNKED, TUNNEL, UNTIL_CLOSE } from "./h1/framing.ts";
export { isAuthority, type H1RequestHead, type H1ResponseHead } from "./h1/heads.ts";
export { H1_LIMITS, type H1Limits, type H1Problem } from "./h1/limits.ts";
export { H1Server, type BodySize, type H1ServerEvents } from "./h1/server.ts";
export { H2Connection, type ConnectionOptions } from "./h2/connection.ts";
export type { ConnectionEvents } from "./h2/events.ts";
export { ConnectionError, ErrorCode, errorCodeName } from "./h2/error-code.ts";
export { CLIENT_LIMITS, SERVER_LIMITS, type Limits } from "./h2/limits.ts";
export { fieldValue } from "./h2/message.ts";
export type { PeerSettings } from "./h2/settings.ts";
export type { H2Stream } from "./h2/stream.ts";
export { useMemory } from "./memory.ts";
export { NameLists, NOT_MET } from "./name-lists.ts";
export { isFieldName, isFieldValue } from "./octets.ts";
export { HpackDecoder, HpackError, type Fields, type HpackDecoderOptions } from "./hpack/decoder.ts";
export { HpackEncoder } from "./hpack/encoder.ts";
