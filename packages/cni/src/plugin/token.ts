// Owns the plugin's own token. The agent's is bound to its pod and dies with it, and every pod of the node would wait for the
// next agent; this one is bound to nothing and outlives a restart or an upgrade.
import type { KubeClient } from "@ambit/kube";
import { errorText, type Clock, type Logger, type Timer } from "@ambit/runtime";

/** How long the plugin can ask the API server without an agent. */
const LIFE_S = 24 * 3600;
const RENEW_MS = (LIFE_S * 1000) / 3;
const RETRY_MS = 60_000;

/** The service account a token is of, from its claims (not verified: it is our own); undefined when it is none. Pure. */
export function accountOf(token: string): { namespace: string; name: string } | undefined {
  try {
    const claims = JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString("utf8")) as { sub?: unknown } | null;
    const [, namespace, name] = /^system:serviceaccount:([^:]+):([^:]+)$/.exec(String(claims?.sub)) ?? [];
    return namespace === undefined || name === undefined ? undefined : { namespace, name };
  } catch {
    return undefined;
  }
}

export interface PluginToken { readonly token: string | undefined; close(): void }

/** Resolves when a token is there, or refused: then the plugin shares the agent's. */
export async function keepToken(client: Pick<KubeClient, "request">, own: string, clock: Clock, log: Logger, onRenewed: () => void): Promise<PluginToken> {
  const account = accountOf(own);
  let token: string | undefined;
  let timer: Timer | undefined;
  let closed = false;
  const renew = async () => {
    if (account === undefined || closed) return;
    try {
      const answer = await client.request<{ status?: { token?: string } }>("POST", `/api/v1/namespaces/${account.namespace}/serviceaccounts/${account.name}/token`, {
        body: { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec: { expirationSeconds: LIFE_S } },
      });
      token = answer.status?.token;
      onRenewed();
    } catch (error) {
      log.warn("no token of its own for the CNI plugin: without an agent, no pod of this node can start", { error: errorText(error) });
    }
    if (!closed) timer = clock.after(token === undefined ? RETRY_MS : RENEW_MS, () => void renew());
  };
  await renew();
  return { get token() { return token; }, close: () => { closed = true; timer?.cancel(); } };
}
