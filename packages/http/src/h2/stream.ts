// Owns the state of one stream: which halves are open, its two windows, what its messages still promise.

/** One stream of a connection. `context` is the caller's: what this stream means to them. */
export class H2Stream<C> {
  readonly id: number;
  /** A CONNECT: after its head only DATA may come (RFC 9113 §8.5). */
  readonly connect: boolean;
  context: C | undefined;
  /** We sent END_STREAM. */
  localEnded = false;
  /** The peer sent END_STREAM. */
  remoteEnded = false;
  /** Both halves ended, or reset by either side. */
  closed = false;
  /** Server: our final response head is sent. Client: the peer's has come. */
  answered = false;
  /** Octets we may send; negative after the peer shrank its initial window. */
  sendWindow: number;
  /** Octets the peer may still send. */
  receiveWindow: number;
  /** Octets received and not yet consumed: the peer has no credit for them. */
  unconsumed = 0;
  /** Octets consumed and not yet announced in a WINDOW_UPDATE. */
  owed = 0;
  /** Body octets the content-length still promises; -1 when nothing was promised. */
  promised = -1;
  /** Client: the response has no body whatever its content-length says (HEAD). */
  bodiless = false;

  constructor(id: number, connect: boolean, sendWindow: number, receiveWindow: number, context: C | undefined) {
    this.id = id;
    this.connect = connect;
    this.sendWindow = sendWindow;
    this.receiveWindow = receiveWindow;
    this.context = context;
  }
}
