// Owns entering a network namespace: synchronous there and back, never across a turn of the event loop.
import { closeSync, fstatSync, openSync } from "node:fs";
import { pbkdf2 } from "node:crypto";
import { C, check, sys } from "./ffi.ts";
import type { Netns } from "./kernel.ts";

let home: number | undefined;

/**
 * libuv starts its pool threads on first use, and a thread inherits the namespace of its creator: start them all before the
 * first setns, or DNS and file work would run in a pod's namespace for ever.
 */
const POOL_THREADS_MAX = 128;
export async function warmThreadPool(): Promise<void> {
  const threads = Math.min(POOL_THREADS_MAX, Number(process.env["UV_THREADPOOL_SIZE"] ?? 4) || 4);
  await Promise.all(
    Array.from({ length: threads }, () => new Promise<void>((resolve) => pbkdf2("", "", 1, 8, "sha1", () => resolve()))),
  );
}

/** Runs `work` inside `ns`. `work` must be synchronous and must not start threads. If the way home fails the process ends. */
export function insideNetns<T>(ns: Netns | undefined, work: () => T): T {
  if (ns === undefined) return work();
  // thread-self, not self: they differ in a Worker.
  home ??= openSync("/proc/thread-self/ns/net", "r");
  check(sys.setns(ns.fd, C.CLONE_NEWNET), "setns");
  try {
    return work();
  } finally {
    if (sys.setns(home, C.CLONE_NEWNET) < 0) process.abort();
  }
}

export function openNetns(path: string): Netns {
  return adoptNetns(openSync(path, "r"));
}

export function adoptNetns(fd: number): Netns {
  const inode = fstatSync(fd, { bigint: true }).ino;
  let open = true;
  return {
    // Numbers of closed descriptors are given out again: using one later would mean another pod's namespace.
    get fd() {
      if (!open) throw new Error(`network namespace ${inode} was let go of already`);
      return fd;
    },
    inode,
    [Symbol.dispose]: () => {
      if (open) closeSync(fd);
      open = false;
    },
  };
}
