// Owns `ambit bugreport`: one archive with what somebody who helps needs, and no secret in it.
import { writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import type { Command } from "commander";
import { errorText } from "@ambit/runtime";
import { collect } from "../bugreport/collect.ts";
import { encodeTar } from "../bugreport/plan/tar.ts";
import { connect, kubeconfigPath, type ClusterOptions } from "../cluster.ts";
import { print } from "../output.ts";
import { UsageError } from "../usage-error.ts";
import { version } from "../version.ts";

type Options = ClusterOptions & { readonly outputFile: string };

export function addBugreport(program: Command): void {
  program.command("bugreport").description("versions, findings, objects, logs and dumps of the mesh in one archive, without Secrets, keys, tokens")
    .option("-o, --output-file <file>", "where to write it", "ambit-bugreport.tar.gz").option("--kubeconfig <file>").option("--context <name>").option("--state <dir>", "state folder of the lab").action(bugreport);
}

async function bugreport(options: Options): Promise<void> {
  const client = connect(options);
  try {
    const files = await collect({ client, kubeconfig: kubeconfigPath(options), ambit: version(), onStep: (text) => process.stderr.write(`${text}\n`) });
    const archive = gzipSync(encodeTar(files, Date.now()));
    try {
      // For its owner alone: what we take for harmless may not be.
      writeFileSync(options.outputFile, archive, { mode: 0o600 });
    } catch (cause) {
      throw new UsageError(`cannot write the report: ${errorText(cause)}`, { cause });
    }
    print(`${options.outputFile}: ${files.length} files, ${Math.ceil(archive.length / 1024)} KiB; look through it before you give it away\n`);
  } finally {
    client.close();
  }
}
