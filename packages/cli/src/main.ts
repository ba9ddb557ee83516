#!/usr/bin/env node
// Entry of `ambit`: parses the command line and turns every failure into one sentence.
import { Command, CommanderError } from "commander";
import { KubeconfigError, KubeError } from "@ambit/kube";
import { errorText } from "@ambit/runtime";
import { addAnalyze } from "./commands/analyze.ts";
import { addBugreport } from "./commands/bugreport.ts";
import { addCheck } from "./commands/check.ts";
import { addInstall } from "./commands/install.ts";
import { addLab } from "./commands/lab.ts";
import { addStatus } from "./commands/status.ts";
import { addUninstall } from "./commands/uninstall.ts";
import { addVersion } from "./commands/version.ts";
import { addVerify } from "./commands/verify.ts";
import { addWhy } from "./commands/why.ts";
import { addWaypoint } from "./commands/waypoint.ts";
import { addZtunnel } from "./commands/ztunnel.ts";
import { UsageError } from "./usage-error.ts";
import { version } from "./version.ts";

/** EX_SOFTWARE of sysexits.h: the fault is ours. */
const BROKEN = 70;

const program = new Command("ambit").description("An ambient service mesh: no sidecars, mutual TLS everywhere, and it explains itself.");
program.enablePositionalOptions().exitOverride().version(version(), "--version", "the version alone; `ambit version` says more");
program.configureOutput({ outputError: (text, write) => write(`ambit: ${text.replace(/^error: /, "").trimEnd().replaceAll("\n", " ")} (--help shows how)\n`) });
addAnalyze(program);
addBugreport(program);
addCheck(program);
addInstall(program);
addLab(program);
addStatus(program);
addWhy(program);
addWaypoint(program);
addZtunnel(program);
addUninstall(program);
addVerify(program);
addVersion(program);

// `ambit … | head`: who reads no more need not be told, and a lab in the foreground goes on.
process.stdout.on("error", (error: NodeJS.ErrnoException) => { if (error.code !== "EPIPE") throw error; });

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2;
  // A usage error is a whole sentence; its causes are for debuggers.
  else if (error instanceof UsageError) fail(error.message, error.exitCode);
  else if (error instanceof KubeconfigError) fail(error.message, 1);
  else if (error instanceof KubeError) fail(errorText(error), 1);
  else {
    fail(errorText(error), BROKEN);
    if (error instanceof Error) process.stderr.write(`${error.stack ?? ""}\n`);
  }
}

function fail(text: string, exitCode: number): void {
  process.stderr.write(`ambit: ${text}\n`);
  process.exitCode = exitCode;
}
