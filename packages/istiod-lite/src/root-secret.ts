// Owns where the authority's key lives: Secret cacerts (plugged in) wins, else istio-ca-secret, made once by whoever comes first.
import { describeProblems } from "@ambit/core";
import { isAlreadyExists, isNotFound, KINDS, KubeError, type KubeClient, type Secret } from "@ambit/kube";
import { backoffDelay, errorText, systemRandom, type Clock, type Logger } from "@ambit/runtime";
import { createSelfSigned, loadAuthority, type Authority } from "./ca/authority.ts";

const PLUGGED_IN = "cacerts";
const SELF_SIGNED = "istio-ca-secret";
/** The API server may start after us. */
const BACKOFF = { initialMs: 100, maxMs: 5_000 };

/** Waits for an API server; throws when a Secret is there and unusable, because replacing it would break every certificate. */
export async function obtainAuthority(o: { client: KubeClient; namespace: string; trustDomain: string; clock: Clock; log: Logger; signal: AbortSignal }): Promise<Authority> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await attemptAuthority(o);
    } catch (error) {
      const passing = error instanceof KubeError && (error.status === 0 || error.status >= 500 || error.status === 429 || error.status === 401 || error.status === 403);
      if (!passing) throw error;
      o.log.warn("the authority's secret cannot be read yet", { error: errorText(error) });
      await o.clock.sleep(backoffDelay(BACKOFF, attempt, systemRandom), o.signal);
    }
  }
}

async function attemptAuthority(o: { client: KubeClient; namespace: string; trustDomain: string; clock: Clock; log: Logger }): Promise<Authority> {
  for (const name of [PLUGGED_IN, SELF_SIGNED]) {
    const secret = await read(o.client, o.namespace, name);
    if (secret !== undefined) return load(secret, o);
  }
  const made = await createSelfSigned(o.trustDomain, o.clock.now());
  const body: Secret = {
    apiVersion: "v1", kind: "Secret", type: "istio.io/ca-root", metadata: { name: SELF_SIGNED, namespace: o.namespace },
    data: Object.fromEntries(Object.entries(made.toSecret()).map(([k, v]) => [k, Buffer.from(v).toString("base64")])),
  };
  try {
    await o.client.create(KINDS.secrets, o.namespace, body);
    o.log.info("made a self-signed root", { secret: `${o.namespace}/${SELF_SIGNED}` });
    return made;
  } catch (error) {
    // Another replica was faster: its root is everybody's.
    if (!isAlreadyExists(error)) throw error;
    return load(await o.client.get<Secret>(KINDS.secrets, o.namespace, SELF_SIGNED), o);
  }
}

async function read(client: KubeClient, namespace: string, name: string): Promise<Secret | undefined> {
  try {
    return await client.get<Secret>(KINDS.secrets, namespace, name);
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

function load(secret: Secret, o: { clock: Clock; log: Logger }): Authority {
  const data = Object.fromEntries(Object.entries(secret.data ?? {}).map(([k, v]) => [k, Buffer.from(v, "base64").toString("utf8")]));
  const loaded = loadAuthority(data, o.clock.now());
  if (!loaded.ok) throw new Error(`Secret ${secret.metadata.namespace ?? ""}/${secret.metadata.name} is not a usable authority: ${describeProblems(loaded.error)}`);
  o.log.info("authority loaded", { secret: secret.metadata.name, not_after: new Date(loaded.value.notAfter).toISOString() });
  return loaded.value;
}
