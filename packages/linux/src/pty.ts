// Owns pseudo-terminals: a master and its peer from a given devpts, and the size of their window.
import { closeSync, constants, openSync } from "node:fs";
import { C, check, sys } from "./ffi.ts";

const TIOCSPTLCK = 0x40045431;
const TIOCGPTPEER = 0x5441;
const TIOCSWINSZ = 0x5414;
/** Larger windows do not fit the kernel's structure. */
const SIZE_MAX = 65_535;

export interface Pty {
  /** Both close on exec; whoever opened them closes them. */
  readonly master: number;
  readonly peer: number;
  /** Works as long as the master is open. */
  resize(columns: number, rows: number): void;
}

/** `ptmx` is the multiplexer of the devpts the terminal shall be in, e.g. `/proc/PID/root/dev/pts/ptmx`. Never follows a symlink there. */
export function openPty(ptmx: string): Pty {
  const flags = constants.O_RDWR | constants.O_NOCTTY;
  const master = openSync(ptmx, flags | constants.O_NOFOLLOW);
  try {
    check(sys.ioctl(master, TIOCSPTLCK, Buffer.alloc(4)), "ioctl", "TIOCSPTLCK");
    // By its master and not by its name: the name means something else in every mount namespace.
    const peer = check(sys.ioctlNumber(master, TIOCGPTPEER, flags | C.O_CLOEXEC), "ioctl", "TIOCGPTPEER");
    return {
      master, peer,
      resize(columns, rows) {
        const size = Buffer.alloc(8);
        size.writeUInt16LE(clamp(rows), 0);
        size.writeUInt16LE(clamp(columns), 2);
        check(sys.ioctl(master, TIOCSWINSZ, size), "ioctl", "TIOCSWINSZ");
      },
    };
  } catch (error) {
    closeSync(master);
    throw error;
  }
}

function clamp(n: number): number {
  return Math.min(SIZE_MAX, Math.max(0, Math.trunc(n)));
}
