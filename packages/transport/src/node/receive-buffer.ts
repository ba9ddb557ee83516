// Owns the memory that sockets read into: one buffer for all quiet connections of a thread, own ones for those that carry bulk.
import { readBulk } from "../bulk.ts";

/** One read of a quiet connection takes at most so much; it is shared by all, and what came is copied out at once. */
const SHARED_OCTETS = 64 << 10;
/** A connection that fills this much at once carries bulk: from then on it reads into buffers of its own, which are handed on without a copy. */
const BULK_FROM_OCTETS = 16 << 10;
/** A bulk read. Twice as much was no cheaper: allocations of that size go back to the kernel each time. */
const BULK_OCTETS = 64 << 10;
/** A buffer filled at least so far is handed on and replaced; the octets of a lesser read are copied out of it. */
const HAND_ON_OCTETS = BULK_OCTETS / 2;
/** Small reads are packed one behind the other into blocks of this size: one allocation for many reads. */
const BLOCK_OCTETS = 16 << 10;
/** Beyond this a copy of its own is better than the waste at the end of a block. */
const PACK_MAX_OCTETS = 4 << 10;

/** Never freed: handles know only its address. */
export const SHARED: Buffer = Buffer.allocUnsafeSlow(SHARED_OCTETS);
let block: Buffer = Buffer.allocUnsafeSlow(BLOCK_OCTETS);
let used = 0;

/** Octets of `from`, in memory that nobody else writes to. */
function keep(from: Buffer, octets: number): Uint8Array {
  if (octets > PACK_MAX_OCTETS) {
    const copy = Buffer.allocUnsafeSlow(octets);
    from.copy(copy, 0, 0, octets);
    return copy;
  }
  if (used + octets > BLOCK_OCTETS) {
    block = Buffer.allocUnsafeSlow(BLOCK_OCTETS);
    used = 0;
  }
  const at = used;
  used += octets;
  from.copy(block, at, 0, octets);
  return block.subarray(at, used);
}

/** Where one connection reads to. */
export class ReceiveBuffer {
  /** Referenced here for as long as the handle may write to it. */
  current: Buffer = SHARED;

  /** What a read of so many octets brought; `current` may be another buffer afterwards, which the handle must be told. */
  take(octets: number): Uint8Array {
    const from = this.current;
    if (from === SHARED) {
      if (octets >= BULK_FROM_OCTETS) this.current = Buffer.allocUnsafeSlow(BULK_OCTETS);
      return keep(from, octets);
    }
    if (octets >= HAND_ON_OCTETS) {
      readBulk(BULK_OCTETS);
      this.current = Buffer.allocUnsafeSlow(BULK_OCTETS);
      return from.subarray(0, octets);
    }
    if (octets <= PACK_MAX_OCTETS) this.current = SHARED; // quiet again
    return keep(from, octets);
  }
}
