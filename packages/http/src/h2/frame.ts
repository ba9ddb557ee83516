// Owns the numbers of RFC 9113 §4 and §6: frame types, flags, header size, preface.

export const FrameType = {
  DATA: 0x0,
  HEADERS: 0x1,
  PRIORITY: 0x2,
  RST_STREAM: 0x3,
  SETTINGS: 0x4,
  PUSH_PROMISE: 0x5,
  PING: 0x6,
  GOAWAY: 0x7,
  WINDOW_UPDATE: 0x8,
  CONTINUATION: 0x9,
} as const;

export const Flag = { ACK: 0x1, END_STREAM: 0x1, END_HEADERS: 0x4, PADDED: 0x8, PRIORITY: 0x20 } as const;

export const FRAME_HEADER_OCTETS = 9;
/** Every peer accepts frames of this size; the default of SETTINGS_MAX_FRAME_SIZE and its lower bound. */
export const FRAME_SIZE_MIN = 16_384;
export const FRAME_SIZE_MAX = 0xff_ffff;
export const STREAM_ID_MAX = 0x7fff_ffff;
export const WINDOW_MAX = 0x7fff_ffff;
/** Both windows before SETTINGS and WINDOW_UPDATE say otherwise (§6.9.2). */
export const WINDOW_DEFAULT = 65_535;

/** §3.4: what a client sends first. */
export const PREFACE: Uint8Array = Uint8Array.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (c) => c.charCodeAt(0));

export const readUint32 = (b: Uint8Array, at: number): number =>
  (((b[at] ?? 0) << 24) | ((b[at + 1] ?? 0) << 16) | ((b[at + 2] ?? 0) << 8) | (b[at + 3] ?? 0)) >>> 0;
