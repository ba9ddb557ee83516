// Owns the way to a pod's kubelet: its address, and TLS connections that prove who we are and check who answers.
import { connect, type TLSSocket } from "node:tls";
import type { Api } from "../context.ts";
import { asObjects, asString, dig, type JsonObject } from "../json.ts";
import { badRequest, internal } from "../status.ts";

export const KUBELET_PORT = 10250;
/** A kubelet is on the next bridge: one that does not answer in this time is gone. */
const CONNECT_TIMEOUT_MS = 10_000;

interface KubeletCredentials {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

interface KubeletAddress {
  readonly node: string;
  readonly host: string;
  readonly port: number;
}

export class KubeletDialer {
  readonly #credentials: KubeletCredentials;

  constructor(credentials: KubeletCredentials) {
    this.#credentials = credentials;
  }

  /** A verified TLS connection; rejects with what went wrong and where. */
  dial(address: KubeletAddress): Promise<TLSSocket> {
    return new Promise((resolve, reject) => {
      const { host, port, node } = address;
      const socket = connect({ ...this.#credentials, host, port, servername: node, ALPNProtocols: ["http/1.1"] });
      const fail = (why: string) => {
        socket.destroy();
        reject(internal(`error dialing kubelet of node ${node} at ${host}:${port}: ${why}`));
      };
      socket.setTimeout(CONNECT_TIMEOUT_MS, () => fail(`no answer within ${CONNECT_TIMEOUT_MS / 1000} s`));
      socket.once("error", (error) => fail(error.message));
      socket.once("secureConnect", () => {
        socket.setTimeout(0);
        socket.removeAllListeners("error");
        socket.on("error", () => socket.destroy());
        resolve(socket);
      });
    });
  }
}

/** Where the kubelet of a pod listens; throws when the pod has no node yet or the node no address. */
export function kubeletOf(api: Api, pod: JsonObject): KubeletAddress {
  const node = asString(dig(pod, "spec", "nodeName"));
  const name = asString(dig(pod, "metadata", "name"));
  if (node === "") throw badRequest(`pod ${name} does not have a host assigned`);
  const status = api.store.get("/nodes", node)?.object["status"];
  const addresses = asObjects(dig(status, "addresses"));
  const host = asString(addresses.find((address) => address["type"] === "InternalIP")?.["address"]);
  if (host === "") throw internal(`node ${node} of pod ${name} has no InternalIP address`);
  const port = dig(status, "daemonEndpoints", "kubeletEndpoint", "Port");
  return { node, host, port: typeof port === "number" && port > 0 ? port : KUBELET_PORT };
}

/** The container asked for, or the only one; throws upstream's text when it is not clear which. */
export function chooseContainer(pod: JsonObject, asked: string): string {
  const spec = dig(pod, "spec");
  const names = (list: string) => asObjects(dig(spec, list)).map((container) => asString(container["name"]));
  const name = asString(dig(pod, "metadata", "name"));
  const containers = names("containers");
  const all = [...containers, ...names("initContainers"), ...names("ephemeralContainers")];
  if (asked !== "") {
    if (all.includes(asked)) return asked;
    throw badRequest(`container ${asked} is not valid for pod ${name}`);
  }
  if (containers.length === 1) return containers[0] as string;
  throw badRequest(`a container name must be specified for pod ${name}, choose one of: [${containers.join(" ")}]`);
}
