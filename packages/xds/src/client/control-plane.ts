// Owns the way to the control plane: address, TLS with its roots, and the metadata of every call. xDS and CA clients share it.
import { readFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import { Client, credentials, Metadata, type ChannelOptions } from "@grpc/grpc-js";
import type { Clock } from "@ambit/runtime";
import { createRoots } from "./roots.ts";

/** h2 PING while calls are open; Istio's control plane tolerates nothing closer than 15 s. */
export const KEEPALIVE_MS = 30_000;
/** An unanswered PING ends the connection. */
export const KEEPALIVE_TIMEOUT_MS = 10_000;
/** A push of a whole large cluster may come as one message. */
export const RECEIVE_MAX_BYTES = 200 * 1024 * 1024;
/** A reconnect request lists every resource held. */
const SEND_MAX_BYTES = 64 * 1024 * 1024;
const DEFAULT_PORT = 15012;

export interface ControlPlaneOptions {
  /** `https://host:port` (default scheme https, port 15012) or `http://host:port` for plaintext. */
  readonly address: string;
  /** A path, `SYSTEM`, or PEM text. Not used for plaintext. */
  readonly roots: string;
  /** A path that is read before every call, or the token itself. Empty: no authorization metadata. */
  readonly token: string;
  readonly clusterId: string;
  /** Name to verify in the server's certificate instead of the host of `address`. */
  readonly altHostname?: string | undefined;
  /** XDS_HEADER_* or CA_HEADER_*: names in lower case. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly clock: Clock;
}

export interface ControlPlane {
  readonly address: string;
  /** A new channel with the roots as they are now; the caller closes it. */
  open(): Promise<Client>;
  /** authorization, clusterid and the extra headers, read now. */
  metadata(): Promise<Metadata>;
  /** The root certificates differ from those of the last `open`: rebuild the channel. */
  onRootsChanged(listener: () => void): () => void;
  close(): void;
}

/** Throws on an address that is none. */
export function createControlPlane(o: ControlPlaneOptions): ControlPlane {
  const { target, secure } = parseAddress(o.address);
  const roots = createRoots(o.roots, o.clock);
  const options: ChannelOptions = {
    "grpc.keepalive_time_ms": KEEPALIVE_MS,
    "grpc.keepalive_timeout_ms": KEEPALIVE_TIMEOUT_MS,
    "grpc.max_receive_message_length": RECEIVE_MAX_BYTES,
    "grpc.max_send_message_length": SEND_MAX_BYTES,
    // Each channel is ours alone: sharing would bring back a connection made with old roots.
    "grpc.use_local_subchannel_pool": 1,
    // A proxy from the environment, service configs from DNS and transparent retries are not for the mesh's own control channel.
    "grpc.enable_http_proxy": 0,
    "grpc.service_config_disable_resolution": 1,
    "grpc.enable_retries": 0,
    ...(o.altHostname === undefined ? {} : { "grpc.ssl_target_name_override": o.altHostname }),
  };
  return {
    address: `${secure ? "https" : "http"}://${target}`,
    open: async () => {
      const creds = secure ? credentials.createSsl(await roots.read()) : credentials.createInsecure();
      return new Client(`dns:///${target}`, creds, options);
    },
    metadata: async () => {
      const metadata = new Metadata();
      const token = await readToken(o.token);
      if (token !== "") metadata.set("authorization", `Bearer ${token}`);
      metadata.set("clusterid", o.clusterId);
      for (const [name, value] of Object.entries(o.headers ?? {})) metadata.set(name, value);
      return metadata;
    },
    onRootsChanged: (listener) => roots.onChange(listener),
    close: () => roots.close(),
  };
}

/** A trailing newline in the file is not part of the token. */
async function readToken(source: string): Promise<string> {
  if (source === "") return "";
  if (!source.includes("/") || looksLikeJwt(source)) return source.trim();
  try {
    return (await readFile(source, "utf8")).trim();
  } catch (cause) {
    throw new Error(`cannot read the token ${existsSync(source) ? "" : "(no such file) "}${source}`, { cause });
  }
}

const looksLikeJwt = (s: string): boolean => /^[\w-]+\.[\w-]+\.[\w-]+$/.test(s);

export function parseAddress(address: string): { target: string; secure: boolean } {
  const [, scheme = "https", rest = ""] = /^(?:(https?):\/\/)?(.*?)\/?$/.exec(address) ?? [];
  const [, host = "", port = String(DEFAULT_PORT)] = /^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?$/.exec(rest) ?? [];
  if (host === "" || Number(port) > 65_535 || Number(port) === 0)
    throw new Error(`"${address}" is not a control plane address such as https://istiod.istio-system.svc:15012`);
  return { target: `${host}:${port}`, secure: scheme === "https" };
}
