// Owns `ambit version`.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Option, type Command } from "commander";
import { FORMATS, print, render, type Format } from "../output.ts";

export function version(): string {
  const manifest = JSON.parse(readFileSync(join(import.meta.dirname, "../../../../package.json"), "utf8")) as { version: string };
  return manifest.version;
}

export function addVersion(program: Command): void {
  program.command("version").description("which Ambit this is")
    .addOption(new Option("-o, --output <format>", "how to print").choices([...FORMATS]).default("table"))
    .action((options: { output: Format }) => {
      const value = { ambit: version(), node: process.version };
      print(render({ value, columns: ["AMBIT", "NODE"], rows: [[value.ambit, value.node]] }, options.output));
    });
}
