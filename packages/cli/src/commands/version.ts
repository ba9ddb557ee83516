// Owns `ambit version`.
import { Option, type Command } from "commander";
import { FORMATS, print, render, type Format } from "../output.ts";
import { version } from "../version.ts";

export function addVersion(program: Command): void {
  program.command("version").description("which Ambit this is")
    .addOption(new Option("-o, --output <format>", "how to print").choices([...FORMATS]).default("table"))
    .action((options: { output: Format }) => {
      const value = { ambit: version(), node: process.version };
      print(render({ value, columns: ["AMBIT", "NODE"], rows: [[value.ambit, value.node]] }, options.output));
    });
}
