// `pnpm scale`: the control plane as a process, fed by a fast API server, asked by many proxies; prints what each size costs beside the goal.
import { parseArgs } from "node:util";
import { cpus, release } from "node:os";
import { loadAverage } from "../bench/processes.ts";
import { GOALS, measure, STEPS, type Figures, type Step } from "./measure.ts";

const { values } = parseArgs({ options: {
  pods: { type: "string", default: "1000,10000" }, clients: { type: "string", default: "100" }, seconds: { type: "string", default: "30" },
  only: { type: "string", default: STEPS.join(",") }, json: { type: "boolean", default: false }, "node-options": { type: "string", default: "" }, strict: { type: "boolean", default: false },
} });
const only = values.only.split(",") as Step[];
const unknown = only.filter((s) => !STEPS.includes(s));
if (unknown.length > 0) throw new Error(`--only ${unknown.join(",")}: known are ${STEPS.join(",")}`);

const sizes = values.pods.split(",").map(Number);
const columns: { pods: number; figures: Figures }[] = [];
for (const pods of sizes) {
  process.stderr.write(`${pods} pods, ${Math.ceil(pods / 10)} services, ${values.clients} proxies (load ${loadAverage()})\n`);
  const say = (what: string): void => void process.stderr.write(`  ${what}\n`);
  columns.push({ pods, figures: await measure({ size: { pods, services: Math.ceil(pods / 10), nodes: Number(values.clients) }, clients: Number(values.clients), seconds: Number(values.seconds), only, nodeOptions: values["node-options"], say }) });
}

const number = (n: number | undefined): string => (n === undefined ? "-" : n >= 100 ? Math.round(n).toLocaleString("en") : n.toPrecision(3).replace(/\.?0+$/, ""));
let missed = 0;
const rows = Object.entries(GOALS).map(([name, { unit, goal }]) => {
  const last = columns.at(-1)?.figures[name];
  const met = goal === undefined || last === undefined ? "" : last <= goal ? "yes" : "NO";
  if (met === "NO") missed++;
  return `| ${name} | ${unit} | ${goal ?? ""} | ${columns.map((c) => number(c.figures[name])).join(" | ")} | ${met} |`;
});
process.stdout.write(`${[`| what | unit | goal | ${columns.map((c) => `${c.pods.toLocaleString("en")} pods`).join(" | ")} | met |`, `|---|---|---:|${columns.map(() => "---:").join("|")}|---|`, ...rows].join("\n")}\n\n`);
process.stdout.write(`${values.clients} proxies; ${cpus().length} x ${cpus()[0]?.model.trim() ?? "?"}, Linux ${release()}, Node ${process.version}, load ${loadAverage()}\n`);
if (values.json) process.stdout.write(`${JSON.stringify(columns)}\n`);
if (values.strict && missed > 0) process.exitCode = 1;
