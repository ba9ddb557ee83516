// Owns the count of file descriptors: the bound that a process with many connections meets first.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import type { Metrics } from "./metrics.ts";

/** Looked at when somebody collects; nothing where there is no /proc. */
export function watchDescriptors(metrics: Metrics): void {
  const open = metrics.gauge("process_open_fds", "Open file descriptors.").with({});
  const max = metrics.gauge("process_max_fds", "File descriptors allowed.").with({});
  metrics.onCollect(() => {
    if (!existsSync("/proc/self/fd")) return;
    open.set(readdirSync("/proc/self/fd").length);
    max.set(Number(/Max open files\s+(\d+)/.exec(readFileSync("/proc/self/limits", "utf8"))?.[1] ?? 0));
  });
}
