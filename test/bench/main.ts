// `pnpm bench`: plain TCP, Ambit, and (with ZTUNNEL=/path/to/binary) the real ztunnel in its place, in one run, round by round.
import { writeFileSync } from "node:fs";
import { cpus, release } from "node:os";
import { parseArgs } from "node:util";
import { life } from "./life.ts";
import { loadAverage } from "./processes.ts";
import { Results, table } from "./results.ts";
import { Rig, type Sample, type Way } from "./rig.ts";
import { SCENARIOS, type Pace } from "./scenarios.ts";

const NAMES = [...(Object.keys(SCENARIOS) as (keyof typeof SCENARIOS)[]), "life"] as const;
type Name = (typeof NAMES)[number];
const FULL: Pace & { rounds: number; times: number } = { seconds: 2, idle: [1_000, 10_000], rounds: 3, times: 10 };
const QUICK: typeof FULL = { seconds: 1, idle: [1_000], rounds: 1, times: 3 };

const { values } = parseArgs({ options: { only: { type: "string" }, rounds: { type: "string" }, quick: { type: "boolean", default: false }, json: { type: "string" } } });
const pace = values.quick ? QUICK : FULL;
const only = (values.only ?? NAMES.join(",")).split(",") as Name[];
const unknown = only.filter((n) => !NAMES.includes(n));
if (unknown.length > 0) throw new Error(`--only ${unknown.join(",")}: known are ${NAMES.join(",")}`);
const rounds = Number(values.rounds ?? pace.rounds);
if (!Number.isInteger(rounds) || rounds < 1) throw new Error(`--rounds ${values.rounds ?? ""}: a number from 1`);
const real = process.env["ZTUNNEL"] || undefined;

const begin = performance.now();
const say = (text: string): void => void process.stderr.write(`${((performance.now() - begin) / 1000).toFixed(0).padStart(4)} s  ${text}\n`);
const results = new Results();
const samples: ({ round: number; way: Way; name: string; load: number } & Sample)[] = [];

say(real === undefined ? "starting a lab (no ZTUNNEL given: nothing is compared with the real one)" : `starting a lab; the real ztunnel is ${real}`);
const rig = await Rig.start(real);
const stop = (signal: NodeJS.Signals): void => { void rig.lab.stop().finally(() => process.exit(signal === "SIGINT" ? 130 : 143)); };
process.once("SIGINT", stop).once("SIGTERM", stop);
try {
  for (let round = 1; round <= rounds; round++) {
    // Who is in place stays first: one switch a round; the order of the two turns round by round.
    const ways: Way[] = rig.variant === "ambit" ? ["plain", "ambit", "real"] : ["real", "plain", "ambit"];
    for (const way of ways.filter((w) => rig.ways.includes(w))) {
      if (way !== "plain") await rig.use(way);
      const note = (_: Way, name: string, sample: Sample): void => {
        samples.push({ round, way, name, load: loadAverage(), ...sample });
        say(`round ${round}  ${way.padEnd(6)} ${name}  (${sample.foreign.toFixed(1)} processors busy with other things)`);
      };
      for (const name of only) {
        if (name === "life") { if (way !== "plain" && round === 1) { say(`round ${round}  ${way.padEnd(6)} enrolment and policy`); await life(rig, pace.times, results); } }
        else if (name !== "idle" || round === 1) await SCENARIOS[name](rig, way, pace, results, note);
      }
    }
  }
} finally {
  await rig.lab.stop();
}

const foreign = samples.map((s) => s.foreign);
const about = {
  date: new Date().toISOString(), machine: `${cpus().length} x ${cpus()[0]?.model.trim() ?? "?"}`, kernel: release(), node: process.version, real: real ?? null, rounds, window_s: pace.seconds,
  foreign_cpus: { mean: foreign.reduce((a, b) => a + b, 0) / Math.max(1, foreign.length), max: Math.max(0, ...foreign) }, load_average: loadAverage(), took_s: Math.round((performance.now() - begin) / 1000),
};
process.stdout.write(`${table(results.rows(), rig.ways)}\n\nmedians of ${rounds} round${rounds === 1 ? "" : "s"}, windows of ${pace.seconds} s; ${about.machine}, Linux ${about.kernel}, Node ${about.node}; busy with other things: ${about.foreign_cpus.mean.toFixed(2)} processors on average, ${about.foreign_cpus.max.toFixed(2)} at most\n`);
if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify({ about, rows: results.rows(), samples }, null, 2)}\n`);
