#!/usr/bin/env node
// Entry of `ambit`: parses the command line and turns every failure into one sentence.
import { Command, CommanderError } from "commander";
import { errorText } from "@ambit/runtime";
import { addLab } from "./commands/lab.ts";
import { addStatus } from "./commands/status.ts";
import { addVersion } from "./commands/version.ts";
import { addWhy } from "./commands/why.ts";
import { addZtunnel } from "./commands/ztunnel.ts";
import { UsageError } from "./usage-error.ts";

const program = new Command("ambit").description("An ambient service mesh: no sidecars, mutual TLS everywhere, and it explains itself.");
program.enablePositionalOptions().showHelpAfterError("(add --help for usage)").exitOverride();
addLab(program);
addStatus(program);
addWhy(program);
addZtunnel(program);
addVersion(program);

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2;
  else {
    process.stderr.write(`ambit: ${errorText(error)}\n`);
    if (!(error instanceof UsageError) && error instanceof Error) process.stderr.write(`${error.stack ?? ""}\n`);
    process.exitCode = error instanceof UsageError ? error.exitCode : 70;
  }
}
