// Owns counting gRPC messages in a body that goes by.

/** A flag octet and four of length. */
const PREFIX_OCTETS = 5;

export class GrpcMessages {
  count = 0;
  #prefix = 0;
  #length = 0;
  #left = 0;

  read(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) {
      if (this.#left > 0) {
        const n = Math.min(this.#left, bytes.length - at);
        this.#left -= n;
        at += n;
        continue;
      }
      if (this.#prefix > 0) this.#length = this.#length * 256 + (bytes[at] ?? 0);
      at++;
      if (++this.#prefix < PREFIX_OCTETS) continue;
      this.count++;
      this.#left = this.#length;
      this.#prefix = 0;
      this.#length = 0;
    }
  }
}
