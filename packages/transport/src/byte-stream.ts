// Owns the byte-mover seam: what every stream of octets (socket, TLS connection, tunnel stream) can do, and what it says.

/** Events. They must not throw. `onClose` never comes during `destroy`. */
export interface ByteStreamHandler {
  /** The receiver may keep the octets; the engine does not use their memory again. */
  onData(bytes: Uint8Array): void;
  /** The peer ended its half: no more data. Our half stays open. */
  onEnd(): void;
  /** After `write` returned false: there is room again. */
  onDrain(): void;
  /** After `end`: everything written, and the end, went to the transport. */
  onFinish?(): void;
  /** Once, last: everything is over. No error when both halves ended or it was destroyed without a reason; else that reason, or a StreamFault. */
  onClose(error?: Error): void;
}

export interface ByteStream {
  /** Takes the events from now on, and starts reading. A later handler replaces an earlier one. */
  attach(handler: ByteStreamHandler): void;
  /**
   * Sends octets, which must not change any more. False: enough is queued; wait for `onDrain` (what was given is sent all the same). After `end` or the
   * close it does nothing and returns false.
   */
  write(bytes: Uint8Array): boolean;
  /** Several at once, handed to the transport before the call returns: one system call where the engine can. */
  writeMany(pieces: readonly Uint8Array[]): boolean;
  /** No `onData` until `resume`; what still comes is bounded by the engine's read buffer or window. `onEnd` waits behind the data. */
  pause(): void;
  resume(): void;
  /** Ends our half when all is written. The peer's half stays open. */
  end(): void;
  /** Ends both halves at once; with a reason abortively (a reset where the transport has one). `onClose` follows with that reason. */
  destroy(reason?: Error): void;
  /** `onClose` was or is about to be called. */
  readonly closed: boolean;
}
