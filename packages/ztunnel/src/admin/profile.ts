// Owns profiles of the running process, on request: CPU samples and live allocations, in the formats that V8's own tools read.
import { Session } from "node:inspector/promises";
import type { Clock, Reply } from "@ambit/runtime";
import { text } from "@ambit/runtime";

const SECONDS_DEFAULT = 10;
const SECONDS_MAX = 300;
/** Samples a second; more costs more than it shows. */
const FREQUENCY_DEFAULT = 100;
const FREQUENCY_MAX = 1_000;
/** One allocation sample per so many bytes. */
const HEAP_INTERVAL_BYTES = 128 * 1024;

/** One at a time: two would measure each other. */
let busy = false;

/** `?seconds=10&frequency=100`: a .cpuprofile (JSON). */
export function cpuProfile(query: URLSearchParams, clock: Clock): Promise<Reply> {
  const frequency = whole(query, "frequency", FREQUENCY_DEFAULT, FREQUENCY_MAX);
  if (frequency === undefined) return Promise.resolve(text(`frequency is a whole number from 1 to ${FREQUENCY_MAX}\n`, 400));
  return during(query, clock, async (session, wait) => {
    await session.post("Profiler.enable");
    await session.post("Profiler.setSamplingInterval", { interval: Math.round(1e6 / frequency) });
    await session.post("Profiler.start");
    await wait();
    return (await session.post("Profiler.stop")).profile;
  });
}

/** `?seconds=10`: what was allocated in that time and is still alive, a .heapprofile (JSON). */
export function heapProfile(query: URLSearchParams, clock: Clock): Promise<Reply> {
  return during(query, clock, async (session, wait) => {
    await session.post("HeapProfiler.startSampling", { samplingInterval: HEAP_INTERVAL_BYTES });
    await wait();
    return (await session.post("HeapProfiler.stopSampling")).profile;
  });
}

async function during(query: URLSearchParams, clock: Clock, measure: (session: Session, wait: () => Promise<void>) => Promise<unknown>): Promise<Reply> {
  const seconds = whole(query, "seconds", SECONDS_DEFAULT, SECONDS_MAX);
  if (seconds === undefined) return text(`seconds is a whole number from 1 to ${SECONDS_MAX}\n`, 400);
  if (busy) return text("another profile is being taken\n", 409);
  busy = true;
  const session = new Session();
  try {
    session.connect();
    return { type: "application/json", body: JSON.stringify(await measure(session, () => clock.sleep(seconds * 1000))) };
  } finally {
    session.disconnect();
    busy = false;
  }
}

function whole(query: URLSearchParams, name: string, fallback: number, max: number): number | undefined {
  const given = query.get(name);
  if (given === null) return fallback;
  const n = Number(given);
  return Number.isInteger(n) && n >= 1 && n <= max ? n : undefined;
}
