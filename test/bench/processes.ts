// Owns what the bench reads of processes: CPU time and memory of one, and of the whole machine, from /proc.
import { readFileSync } from "node:fs";

/** USER_HZ: the kernel's unit in /proc is fixed to this on every architecture Node runs on. */
const TICKS_PER_S = 100;

export interface Machine { readonly busyS: number; readonly stealS: number }

const numbers = (text: string): number[] => text.trim().split(/\s+/).map(Number);

/** Seconds of CPU, user and system, all threads; undefined when the process is gone. */
export function cpuSeconds(pid: number): number | undefined {
  const stat = read(`/proc/${pid}/stat`);
  if (stat === undefined) return undefined;
  // After the name, which may hold anything: state is field 0, utime 11, stime 12.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_S;
}

/** Resident megabytes; undefined when the process is gone. */
export function residentMb(pid: number): number | undefined {
  const kb = /VmRSS:\s+(\d+) kB/.exec(read(`/proc/${pid}/status`) ?? "")?.[1];
  return kb === undefined ? undefined : Number(kb) / 1024;
}

/** Everything the processors did, and what the hypervisor took from them, since boot. */
export function machine(): Machine {
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = numbers((read("/proc/stat") ?? "").split("\n")[0]?.slice(4) ?? "");
  return { busyS: (user + nice + system + irq + softirq) / TICKS_PER_S, stealS: steal / TICKS_PER_S };
}

export const loadAverage = (): number => Number((read("/proc/loadavg") ?? "0").split(" ")[0]);

/** One variable of a process's environment. */
export function variableOf(pid: number, name: string): string | undefined {
  return (read(`/proc/${pid}/environ`) ?? "").split("\0").find((v) => v.startsWith(`${name}=`))?.slice(name.length + 1);
}
export const argumentsOf = (pid: number): string[] => (read(`/proc/${pid}/cmdline`) ?? "").split("\0").slice(0, -1);

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
