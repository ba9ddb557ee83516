// Owns first use on a fresh machine: runs on a distribution's Node 20, brings the pinned tools, then hands over to Node 24.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const NODE_VERSION = "24.21.0";
const PNPM_VERSION = "12.21.0";
const root = dirname(dirname(fileURLToPath(import.meta.url)));
const tools = join(root, ".tools");
const bin = join(tools, "node_modules", ".bin");

/** What the lab calls, the Debian package that brings it, and how to tell that it is there. */
const NEEDS = [
  { package: "nftables", command: "nft" },
  { package: "iproute2", command: "ip" },
  { package: "util-linux", command: "unshare" },
  { package: "tcpdump", command: "tcpdump" },
  { package: "openssl", command: "openssl" },
  { package: "containernetworking-plugins", file: "/usr/lib/cni/bridge" },
  { package: "kubernetes-client", command: "kubectl" },
];

function main() {
  const [verb, ...args] = process.argv.slice(2);
  const targets = { start: ["packages/cli/src/main.ts", "lab", "up", "--tour"], test: ["scripts/test.ts"], "test:kube": ["test/kube/main.ts"], images: ["packages/images/src/main.ts"] };
  if (!(verb in targets)) fail(`usage: bootstrap.mjs start|test|test:kube|images, not "${verb}"`);
  if (process.platform !== "linux") fail("Ambit's lab needs Linux: it is made of network namespaces");
  installTools();
  installDependencies();
  installPackages();
  process.env.PATH = [bin, join(root, "node_modules", ".bin"), process.env.PATH ?? "", "/usr/sbin", "/sbin"].join(delimiter);
  process.env.NODE_COMPILE_CACHE ??= join(tools, "compile-cache");
  const run = spawnSync(join(bin, "node"), [...targets[verb], ...args], { cwd: root, stdio: "inherit" });
  process.exit(run.status ?? 1);
}

function installTools() {
  const node = join(bin, "node");
  const found = existsSync(node) ? spawnSync(node, ["--version"], { encoding: "utf8" }).stdout?.trim() : "";
  if (found === `v${NODE_VERSION}` && existsSync(join(bin, "pnpm"))) return;
  say(`installing Node ${NODE_VERSION} and pnpm ${PNPM_VERSION} into .tools`);
  mkdirSync(tools, { recursive: true });
  const arch = process.arch === "arm64" ? "arm64" : "x64";
  run("npm", ["install", "--no-save", "--no-audit", "--no-fund", "--prefix", tools, "--ignore-scripts", `node-linux-${arch}@${NODE_VERSION}`, `pnpm@${PNPM_VERSION}`]);
}

function installDependencies() {
  const lock = createHash("sha256").update(readFileSync(join(root, "pnpm-lock.yaml"))).digest("hex");
  const stamp = join(root, "node_modules", ".ambit-lock");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === lock) return;
  say("installing dependencies from the lockfile");
  run("pnpm", ["install", "--frozen-lockfile"], { PATH: `${bin}${delimiter}${process.env.PATH}` });
  writeFileSync(stamp, lock);
}

function installPackages() {
  const missing = NEEDS.filter((n) => (n.file ? !existsSync(n.file) : !onPath(n.command))).map((n) => n.package);
  if (missing.length === 0) return;
  const hint = `apt-get install ${missing.join(" ")}`;
  if (process.getuid?.() !== 0) fail(`missing Debian packages, and only root can install them: ${hint}`);
  if (!onPath("apt-get")) fail(`missing programs, and there is no apt-get here; install what Debian calls: ${missing.join(" ")}`);
  say(`installing Debian packages: ${missing.join(" ")}`);
  const quiet = { DEBIAN_FRONTEND: "noninteractive" };
  const install = ["install", "-y", "-q", "--no-install-recommends", ...missing];
  if (spawnSync("apt-get", install, { stdio: "ignore", env: { ...process.env, ...quiet } }).status === 0) return;
  run("apt-get", ["update", "-q"], quiet);
  run("apt-get", install, quiet);
}

function onPath(command) {
  return [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/sbin"].some((dir) => dir !== "" && existsSync(join(dir, command)));
}

/** Runs a set-up step quietly; shows its output only when it fails. */
function run(command, args, env = {}) {
  const done = spawnSync(command, args, { cwd: root, encoding: "utf8", env: { ...process.env, ...env } });
  if (done.status === 0) return;
  process.stderr.write(`${done.stdout ?? ""}${done.stderr ?? ""}`);
  fail(`${command} ${args[0]} failed${done.error ? `: ${done.error.message}` : ` (exit ${done.status})`}`);
}

function say(text) {
  process.stdout.write(`ambit: ${text}\n`);
}

function fail(text) {
  process.stderr.write(`ambit: ${text}\n`);
  process.exit(1);
}

main();
