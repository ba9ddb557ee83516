// Owns the bounds of one connection; the defaults are HBONE's (what ambient peers use on 15008).

export interface Limits {
  /** Octets a peer may send on one stream before we take them. */
  readonly streamWindow: number;
  /** Octets a peer may send on all streams together before we take them: what a connection can make us hold. */
  readonly connectionWindow: number;
  /** Largest frame we accept, octets. */
  readonly maxFrameSize: number;
  /** Streams a peer may have open at once (server). */
  readonly maxConcurrentStreams: number;
  /** Decoded octets of one header block as RFC 9113 §6.5.2 counts them; encoded blocks meet the same bound. */
  readonly maxHeaderListSize: number;
  /** Our HPACK decoding table, octets. */
  readonly headerTableSize: number;
  /** Take extended CONNECT (RFC 8441; server). */
  readonly extendedConnect: boolean;
  /** Octets of output that wait for the shell before `data` takes no more. */
  readonly outputMax: number;
}

const COMMON = {
  streamWindow: 4 << 20,
  connectionWindow: 16 << 20,
  maxFrameSize: 1 << 20,
  headerTableSize: 4096,
  outputMax: 1 << 20,
  extendedConnect: false,
};
export const SERVER_LIMITS: Limits = { ...COMMON, maxConcurrentStreams: 200, maxHeaderListSize: 64 << 10 };
export const CLIENT_LIMITS: Limits = { ...COMMON, maxConcurrentStreams: 0, maxHeaderListSize: 16 << 10 };

/** One header block in at most so many frames: enough for 64 KiB from a peer with small frames, too few for a CONTINUATION flood. */
export const CONTINUATION_FRAMES_MAX = 32;
/** Octets of a SETTINGS frame: 100 parameters; the registry has nine. */
export const SETTINGS_OCTETS_MAX = 600;
/** Octets of a GOAWAY frame: its debug text is kept for a message. */
export const GOAWAY_OCTETS_MAX = 16_384;
/** Answers (acknowledgements, resets, refusals) beyond `outputMax` that wait because the peer asks and does not read, octets. */
export const ANSWERS_MAX = 256 << 10;
/** Streams that we reset and whose late frames are still expected. */
export const RESET_MEMORY_MAX = 1024;
/** Streams a client assumes it may open before the peer's SETTINGS say so. */
export const ASSUMED_PEER_STREAMS = 100;

/** Frames that cost us work and carry nothing (PING, SETTINGS, PRIORITY, empty DATA): so many at once, so many a second. */
export const CONTROL_BURST = 1000;
export const CONTROL_PER_SECOND = 200;
/** Requests the peer cancels before our answer, or that we must refuse: rapid reset. */
export const RESET_BURST = 1000;
export const RESET_PER_SECOND = 200;
