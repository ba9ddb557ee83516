// Owns the bound that a proxy meets first: file descriptors. Node raises the soft limit to the hard one at its start; the last tenth is kept for what is open.
import { readFileSync } from "node:fs";

/** Of the limit: what is open still needs sockets to upstreams, certificates, files. */
const CONNECTIONS_PART = 0.9;

/** "Max open files" of /proc/self/limits; infinite where there is none. */
export function descriptorLimit(limits: string = readLimits()): number {
  const found = /^Max open files\s+(\d+|unlimited)/m.exec(limits)?.[1];
  return found === undefined || found === "unlimited" ? Number.POSITIVE_INFINITY : Number(found);
}

function readLimits(): string {
  try {
    return readFileSync("/proc/self/limits", "utf8");
  } catch {
    return "";
  }
}

/** Why a connection cannot be served, if so. The kernel gives out the lowest free number: descriptor n says that n others are open. */
export function descriptorsShort(fd: number, limit: number): string | undefined {
  return fd < limit * CONNECTIONS_PART ? undefined : `${fd} of ${limit} file descriptors are open: raise the limit of the container`;
}
