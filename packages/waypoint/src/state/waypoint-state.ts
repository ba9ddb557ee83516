// Owns what the control plane told this waypoint: the mesh's addresses, and the one configuration of its own.
import { decodeWaypointConfig, type Problem, type WaypointConfig } from "@ambit/core";
import { keyOf, ProxyState, type StateView } from "@ambit/proxy/state";

/** A configuration larger than this is not read: it could not be decoded without holding the loop for long. */
export const CONFIG_MAX_BYTES = 32 * 1024 * 1024;

export class WaypointState {
  readonly gateway: string;
  readonly mesh: ProxyState;
  #config: WaypointConfig | undefined;
  /** Version of the configuration that was refused last, and why; the one before stays in force. */
  #refused: string | undefined;
  readonly #listeners = new Set<() => void>();

  /** `gateway`: `namespace/name`; `node`: own node, for nothing but dumps. */
  constructor(gateway: string, node: string) {
    this.gateway = gateway;
    this.mesh = new ProxyState(node);
  }

  view(): StateView {
    return this.mesh.view();
  }

  /** undefined: none has come, or the Gateway is gone: nothing is served. */
  get config(): WaypointConfig | undefined {
    return this.#config;
  }

  get refused(): string | undefined {
    return this.#refused;
  }

  /** Applied in one step, or not at all: the problem has the resource's name as path. */
  applyConfig(name: string, bytes: Uint8Array | undefined): Problem | undefined {
    if (name !== this.gateway) return { path: name, message: `this waypoint is ${this.gateway}` };
    if (bytes === undefined) {
      this.#config = undefined;
      this.#changed();
      return undefined;
    }
    const refuse = (why: string): Problem => {
      this.#refused = why;
      return { path: name, message: why };
    };
    if (bytes.length > CONFIG_MAX_BYTES) return refuse(`${bytes.length} bytes, at most ${CONFIG_MAX_BYTES} are read`);
    const decoded = decodeWaypointConfig(new TextDecoder().decode(bytes));
    if (!decoded.ok) return refuse(decoded.error);
    const own = `${decoded.value.namespace}/${decoded.value.name}`;
    if (own !== this.gateway) return refuse(`it is the configuration of ${own}`);
    this.#config = decoded.value;
    this.#refused = undefined;
    this.#changed();
    return undefined;
  }

  /** Ready pods behind this waypoint's own Service. */
  replicas(): number {
    const [namespace = "", name = ""] = this.gateway.split("/");
    const view = this.mesh.view();
    for (const service of view.services()) if (service.namespace === namespace && service.name === name) return view.endpoints(keyOf(service)).length;
    return 0;
  }

  /** Called after each change of the configuration, synchronously; returns the way to stop it. */
  onConfig(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  #changed(): void {
    for (const listener of this.#listeners) listener();
  }
}
