// Owns `pnpm test:kube`: a Kubernetes (given, or started and ended here), images on its nodes, then install, end-to-end tests, upgrade and uninstall, and
// the API contract; one closing line counts all of it. See docs/testing.md.
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { TAGS } from "./run.fixture.ts";

const ROOT = join(import.meta.dirname, "../..");
/** A folder beside the repository whose scripts start and end a Kubernetes made of upstream's own programs. */
const SIBLING = join(ROOT, "../shared/kube");
const SIBLING_NODES = 2;
/** Tests of what only the lab has are not among them: its images, its API server, its command line, power off and on. */
const END_TO_END = ["tour", "policy", "enrol", "streams", "waypoint", "faults"].map((n) => `test/e2e/${n}.test.ts`);
const IN_ORDER = ["test/kube/install.test.ts", ...END_TO_END, "test/kube/upgrade.test.ts", "test/kube/uninstall.test.ts"];
/** On its own: it takes cluster DNS away and brings it back, on another node perhaps, and then no node is as it was. */
const NAMES = ["test/kube/install.test.ts", "test/e2e/dns.test.ts", "test/kube/uninstall.test.ts"];

interface Cluster { readonly env: NodeJS.ProcessEnv; load(archive: string): void; down(): void }

const only = process.argv.slice(2);
const say = (text: string): void => void process.stdout.write(`${text}\n`);
const scratch = mkdtempSync(join(tmpdir(), "ambit-kube-"));
let cluster: Cluster | undefined;
let passed = 0;
let failed = 0;
try {
  cluster = open();
  putImages(cluster);
  run("mesh", only.length > 0 ? ["test/kube/install.test.ts", ...only, "test/kube/uninstall.test.ts"] : IN_ORDER, {});
  if (only.length === 0) run("names", NAMES, { KUBE_NO_PICTURES: "dns.test.ts made cluster DNS anew" });
  if (only.length === 0) run("contract", ["test/contract/**/*.test.ts"], { CONTRACT: "kubernetes" });
} catch (error) {
  failed++;
  say(`test:kube cannot go on: ${error instanceof Error ? error.message : String(error)}`);
} finally {
  cluster?.down();
  rmSync(scratch, { recursive: true, force: true });
}
say(`\n${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 && passed > 0 ? 0 : 1;

/** $KUBECONFIG with $AMBIT_KUBE_LOAD; else what $AMBIT_KUBE_UP starts; else what stands beside the repository. */
function open(): Cluster {
  const { KUBECONFIG: given, AMBIT_KUBE_LOAD: load, AMBIT_KUBE_UP: up } = process.env;
  const loader = (command: string) => (archive: string) => void sh(`${command} "$0"`, [archive]);
  if (given !== undefined && given !== "") {
    if (load === undefined) throw new Error("with KUBECONFIG say in AMBIT_KUBE_LOAD what puts an image archive on every node: it is called with the archive's path");
    return { env: { ...process.env, AMBIT_E2E_KUBECONFIG: given }, load: loader(load), down: () => undefined };
  }
  const kube = up === undefined ? SIBLING : join(up, "..");
  const script = up ?? join(SIBLING, "up.sh");
  if (!existsSync(script)) throw new Error("no KUBECONFIG is given, AMBIT_KUBE_UP names no script, and there is no ../shared/kube/up.sh beside the repository");
  say("starting a Kubernetes of two nodes");
  const start = (): string => execFileSync(script, { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
  let printed: string;
  try {
    printed = start();
  } catch (error) {
    const build = join(kube, "build.sh");
    if (!existsSync(build) || spawnSync("go", ["version"]).status !== 0) throw error;
    say("it may not have been built yet: building it, a quarter of an hour once");
    execFileSync(build, { stdio: "inherit" });
    printed = start();
  }
  const kubeconfig = /KUBECONFIG=(\S+)/.exec(printed)?.[1];
  if (kubeconfig === undefined) throw new Error(`${script} did not print KUBECONFIG=FILE`);
  // Its own kubectl, where it has one: a distribution's may be years older.
  const bin = process.env["KUBE_BIN"] ?? join(dirname(kubeconfig), "../bin");
  return {
    env: { ...process.env, AMBIT_E2E_KUBECONFIG: kubeconfig, KUBECONFIG: kubeconfig, PATH: `${bin}${delimiter}${process.env["PATH"] ?? ""}` },
    load: load === undefined ? (archive) => { for (let n = 1; n <= SIBLING_NODES; n++) execFileSync(join(kube, "on-node.sh"), [String(n), "ctr", "-n", "k8s.io", "images", "import", archive], { stdio: ["ignore", "ignore", "inherit"] }); } : loader(load),
    down: () => void execFileSync(process.env["AMBIT_KUBE_DOWN"] ?? join(kube, "down.sh"), { stdio: "inherit" }),
  };
}

/** Two tags of the mesh, so that there is something to upgrade to, and what the tests run in pods. */
function putImages({ load }: Cluster): void {
  for (const [what, args] of [["the mesh", ["--tag", TAGS.first]], ["its next version", ["--tag", TAGS.next]], ["the tests' programs", ["--sample", "--tag", "lab"]]] as const) {
    say(`making and loading images of ${what}`);
    const out = mkdtempSync(join(scratch, "images-"));
    execFileSync(process.execPath, [join(ROOT, "packages/images/src/main.ts"), "--out", out, ...args], { stdio: ["ignore", "ignore", "inherit"] });
    for (const archive of readdirSync(out).filter((f) => f.endsWith(".tar"))) load(join(out, archive));
    rmSync(out, { recursive: true });
  }
}

function run(name: string, specs: readonly string[], env: Readonly<Record<string, string>>): void {
  const report = join(scratch, `${name}.json`);
  const args = ["--reporter", join(ROOT, "scripts/reporter.mjs"), "--reporter-option", `output=${report}`, ...specs];
  const done = spawnSync(process.execPath, [join(ROOT, "node_modules/mocha/bin/mocha.js"), ...args], { cwd: ROOT, stdio: "inherit", env: { ...cluster?.env, ...env } });
  const counted = existsSync(report) ? JSON.parse(readFileSync(report, "utf8")) as { passes: number; failures: number } : undefined;
  passed += counted?.passes ?? 0;
  // A run that dies, or cannot end, has failed too.
  failed += counted?.failures ?? 0;
  if (counted === undefined || (done.status !== 0 && counted.failures === 0)) failed++;
}

function sh(script: string, args: readonly string[]): void {
  execFileSync("sh", ["-ec", script, ...args], { stdio: ["ignore", "ignore", "inherit"] });
}
