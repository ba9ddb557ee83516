// Owns the parts of an image for another architecture than this machine's: fetched by npm and apt into a folder, where nothing of them is installed or run.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { isAbsolute, join, relative } from "node:path";
import { foreignMachine, npmNames, type Architecture, type Machine } from "./root/machine.ts";

/** Debian packages of every program and library that an image may need; apt adds what these depend on. */
const PACKAGES = ["libc6", "libstdc++6", "libgcc-s1", "dash", "grep", "util-linux", "iproute2", "nftables", "iptables"];
/** NAME_VERSION_ARCHITECTURE.deb */
const PACKAGE_NAME = /^(.+?)_/;

/** Into `folder`, which is kept for the next time; with another Node or koffi everything is fetched again. Needs the network once. */
export function fetchForeign(folder: string, architecture: Architecture, versions: { readonly node: string; readonly koffi: string }): Machine {
  const names = npmNames(architecture);
  const wanted = [`${names.node}@${versions.node}`, `${names.koffi}@${versions.koffi}`];
  const stamp = join(folder, "complete");
  const key = JSON.stringify([...wanted, ...PACKAGES]);
  if (!existsSync(stamp) || readFileSync(stamp, "utf8") !== key) {
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    fetchNpm(join(folder, "npm"), architecture, wanted);
    fetchDebian(folder, architecture);
    writeFileSync(stamp, key);
  }
  const modules = join(folder, "npm/node_modules");
  return foreignMachine(architecture, { node: join(modules, names.node), koffiNative: join(modules, names.koffi), root: join(folder, "root") });
}

function fetchNpm(prefix: string, architecture: Architecture, packages: readonly string[]): void {
  mkdirSync(prefix);
  // npm refuses what is for another machine unless it is told which one.
  run("npm", ["install", "--no-save", "--no-audit", "--no-fund", "--ignore-scripts", "--force", "--os=linux", `--cpu=${architecture === "amd64" ? "x64" : "arm64"}`, "--prefix", prefix, ...packages]);
}

/** apt with a state of its own: it believes to be on that architecture, with nothing installed, and only downloads. */
function fetchDebian(folder: string, architecture: Architecture): void {
  const [state, cache, root] = ["state", "cache", "root"].map((name) => join(folder, name)) as [string, string, string];
  for (const dir of [join(state, "lists/partial"), join(cache, "archives/partial"), root]) mkdirSync(dir, { recursive: true });
  writeFileSync(join(state, "status"), "");
  const options = { "Dir::State": state, "Dir::State::status": join(state, "status"), "Dir::Cache": cache, "APT::Architecture": architecture, "APT::Architectures": architecture, "Debug::NoLocking": "1", "APT::Sandbox::User": "root", "APT::Get::Download-Only": "1" };
  const apt = (...args: string[]) => run("apt-get", [...Object.entries(options).flatMap(([k, v]) => ["-o", `${k}=${v}`]), "-q", ...args]);
  apt("update");
  apt("install", "-y", "--no-install-recommends", ...PACKAGES);
  const info = join(root, "var/lib/dpkg/info");
  mkdirSync(info, { recursive: true });
  const archives = join(cache, "archives");
  const stanzas = readdirSync(archives).filter((f) => f.endsWith(".deb")).sort().map((name) => {
    const deb = join(archives, name);
    run("dpkg-deb", ["--extract", deb, root]);
    // As dpkg would list it: paths without the leading dot and the trailing slash.
    const paths = run("sh", ["-ec", 'dpkg-deb --fsys-tarfile "$0" | tar -t', deb]).split("\n").map((p) => p.replace(/^\./, "").replace(/\/$/, ""));
    writeFileSync(join(info, `${PACKAGE_NAME.exec(name)?.[1] ?? name}.list`), paths.join("\n"));
    return run("dpkg-deb", ["--field", deb]);
  });
  writeFileSync(join(root, "var/lib/dpkg/status"), stanzas.join("\n"));
  for (const dir of [state, cache]) rmSync(dir, { recursive: true });
  // Absolute links would lead out of the folder, to this machine's own files.
  for (const entry of readdirSync(root, { recursive: true, withFileTypes: true })) {
    const link = join(entry.parentPath, entry.name);
    const target = entry.isSymbolicLink() ? readlinkSync(link) : "";
    if (!isAbsolute(target)) continue;
    rmSync(link);
    symlinkSync(relative(entry.parentPath, join(root, target)), link);
  }
  // dpkg diverts the shell of the system to this one when it is installed.
  if (existsSync(join(root, "bin/dash")) && !existsSync(join(root, "bin/sh"))) renameSync(join(root, "bin/dash"), join(root, "bin/sh"));
}

function run(command: string, args: readonly string[]): string {
  try {
    return execFileSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"], maxBuffer: 64 * 1024 * 1024 });
  } catch (error) {
    throw new Error(`${command} ${args.at(-1) ?? ""}: ${(error as { stderr?: string }).stderr?.trim().split("\n").slice(-3).join(" ") ?? String(error)}`, { cause: error });
  }
}
