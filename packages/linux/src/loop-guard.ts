// Owns the end of a process one of whose threads runs and runs without coming back to its event loop: a timer of the kernel on that thread's processor time.
import { addressOf, check, timerCalls } from "./ffi.ts";

/** A real-time signal that neither libc nor V8 uses. Its handler is _exit(2), which takes the number for the code: so the process ends with this one. */
export const HELD_EXIT_CODE = 61;
/** Processor time between the words and the end: the thread that writes them needs some too. */
const LAST_WORDS_MS = 250;
/** Octets of the words, their NUL included. */
const WORDS_MAX = 1024;

const CLOCK_THREAD_CPUTIME_ID = 3;
const SIGEV_SIGNAL = 0;
const SIGEV_THREAD = 2;

interface ThreadGuard extends Disposable {
  /** The loop came round: its time begins anew. `words`: one line for stdout, without its end, should it never come round again. */
  beat(words: string): void;
  /** Other words, while it still has not. */
  say(words: string): void;
}

/**
 * Guards the loop of the thread that calls: when it has used so much processor time since the last beat, the words go to stdout and the process ends at once,
 * with HELD_EXIT_CODE. Time in which the thread did not run does not count, whatever kept it: a busy machine, SIGSTOP, a limit, a sleep in a system call. It
 * costs two system calls a beat and no thread that runs; it works in process 1 of a container too, which ignores signals without a handler. Throws SyscallError, or an Error when libc lacks a function.
 */
export function guardLoop(limitMs: number): ThreadGuard {
  const words = Buffer.alloc(WORDS_MAX);
  const calls = timerCalls();
  calls.lineBuffered();
  calls.signal(HELD_EXIT_CODE, calls.symbolOf("_exit"));
  const timers = [
    { id: newTimer(calls, SIGEV_THREAD, addressOf(words)), after: timeSpec(limitMs) },
    { id: newTimer(calls, SIGEV_SIGNAL, 0n), after: timeSpec(limitMs + LAST_WORDS_MS) },
  ];
  const say = (text: string): void => {
    words.fill(0, words.write(text, 0, WORDS_MAX - 1));
  };
  return {
    beat: (text) => {
      for (const { id, after } of timers) calls.setTime(id, 0, after, null);
      say(text);
    },
    say,
    [Symbol.dispose]: () => { for (const { id } of timers) calls.delete(id); },
  };
}

/** A timer on the processor time of this thread: it calls puts(3) with `value` in a thread of its own, or sends the signal. */
function newTimer(calls: ReturnType<typeof timerCalls>, notify: number, value: bigint): bigint {
  const event = Buffer.alloc(64);
  event.writeBigUInt64LE(value, 0);
  event.writeInt32LE(HELD_EXIT_CODE, 8);
  event.writeInt32LE(notify, 12);
  if (notify === SIGEV_THREAD) event.writeBigUInt64LE(calls.symbolOf("puts"), 16);
  const id = Buffer.alloc(8);
  check(calls.create(CLOCK_THREAD_CPUTIME_ID, event, id), "timer_create");
  return id.readBigUInt64LE();
}

/** Once, after so long: struct itimerspec. */
function timeSpec(ms: number): Buffer {
  const spec = Buffer.alloc(32);
  spec.writeBigInt64LE(BigInt(Math.floor(ms / 1000)), 16);
  spec.writeBigInt64LE(BigInt(Math.round((ms % 1000) * 1e6)), 24);
  return spec;
}
