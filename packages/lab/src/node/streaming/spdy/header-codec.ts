// Owns the two zlib streams of a SPDY session: header blocks share one context per direction, flushed after each block.
import { constants, createDeflate, createInflate, type Deflate, type Inflate } from "node:zlib";
import { DICTIONARY } from "./dictionary.ts";
import { decodeHeaders, encodeHeaders, SpdyError, type Headers } from "./frames.ts";

/** A block that inflates to more is an attack, not a request. */
const BLOCK_MAX_BYTES = 64 * 1024;

/** Blocks must be given in the order of their frames; a call must be awaited before the next. */
export class HeaderCodec {
  readonly #inflate = new Pass(createInflate({ dictionary: DICTIONARY, finishFlush: constants.Z_SYNC_FLUSH }));
  readonly #deflate = new Pass(createDeflate({ dictionary: DICTIONARY, flush: constants.Z_SYNC_FLUSH }));

  async decode(block: Uint8Array): Promise<Headers> {
    return decodeHeaders(await this.#inflate.through(block));
  }

  encode(headers: Headers): Promise<Uint8Array> {
    return this.#deflate.through(encodeHeaders(headers));
  }

  close(): void {
    this.#inflate.close();
    this.#deflate.close();
  }
}

/** One direction: bytes in, the bytes they turn into out. */
class Pass {
  readonly #zlib: Inflate | Deflate;
  #parts: Buffer[] = [];
  #size = 0;
  #fail: (error: Error) => void = () => undefined;

  constructor(zlib: Inflate | Deflate) {
    this.#zlib = zlib;
    zlib.on("error", (error) => this.#fail(new SpdyError(`a header block cannot be (de)compressed: ${error.message}`)));
    zlib.on("data", (part: Buffer) => {
      this.#size += part.length;
      this.#parts.push(part);
      if (this.#size <= BLOCK_MAX_BYTES) return;
      this.#fail(new SpdyError(`a header block exceeds ${BLOCK_MAX_BYTES} bytes`));
      zlib.destroy();
    });
    zlib.on("close", () => this.#fail(new SpdyError("the session is over")));
  }

  through(input: Uint8Array): Promise<Uint8Array> {
    this.#parts = [];
    this.#size = 0;
    return new Promise((resolve, reject) => {
      if (this.#zlib.destroyed) return reject(new SpdyError("the session is over"));
      this.#fail = reject;
      // What a write produces has been emitted by the turn after its callback.
      this.#zlib.write(input, (error) => { if (!error) setImmediate(() => resolve(Buffer.concat(this.#parts))); });
    });
  }

  close(): void {
    this.#zlib.destroy();
  }
}
