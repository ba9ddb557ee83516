// Owns the process: flags, signals and the end of the API server.
import { createLogger, errorText, LogLevels } from "@ambit/runtime";
import { parseArgs } from "node:util";
import { startApiServer, type ApiServerOptions } from "./server.ts";

const USAGE =
  "usage: main.ts --data DIR --pki DIR --listen HOST:PORT [--listen HOST:PORT ...] [--unix PATH] [--service-cidr CIDR] [--advertise HOST:PORT] [--log-level LEVEL]";

function readHostPort(text: string, flag: string): { host: string; port: number } {
  const match = /^\[?([^[\]]+)\]?:(\d{1,5})$/.exec(text);
  const port = Number(match?.[2]);
  if (match === null || port > 65535) throw new Error(`${flag} ${JSON.stringify(text)}: must be HOST:PORT`);
  return { host: match[1] as string, port };
}

function readFlags(): ApiServerOptions {
  const { values } = parseArgs({
    options: {
      data: { type: "string" },
      pki: { type: "string" },
      listen: { type: "string", multiple: true },
      unix: { type: "string" },
      "service-cidr": { type: "string" },
      advertise: { type: "string" },
      "log-level": { type: "string" },
    },
  });
  if (values.data === undefined || values.pki === undefined || values.listen === undefined) throw new Error(USAGE);
  const log = createLogger("apiserver", { levels: new LogLevels(values["log-level"] ?? "info") });
  const advertise = values.advertise === undefined ? undefined : readHostPort(values.advertise, "--advertise");
  return {
    dataDir: values.data,
    pkiDir: values.pki,
    listen: values.listen.map((text) => readHostPort(text, "--listen")),
    log,
    ...(values.unix === undefined ? {} : { unixPath: values.unix }),
    ...(values["service-cidr"] === undefined ? {} : { serviceCidr: values["service-cidr"] }),
    ...(advertise === undefined ? {} : { advertise: { ip: advertise.host, port: advertise.port } }),
  };
}

async function main(): Promise<void> {
  const server = await startApiServer(readFlags());
  const stop = () => {
    server.close().then(
      () => process.exit(0),
      () => process.exit(1),
    );
  };
  process.once("SIGTERM", stop);
  process.once("SIGINT", stop);
}

main().catch((error: unknown) => {
  process.stderr.write(`apiserver: ${errorText(error)}\n`);
  process.exit(1);
});
