// Owns waiting for admission: policies can be written once istiod answers for them, which is a moment after it is ready.
import { isNotFound, KINDS, KubeError, type KubeClient } from "@ambit/kube";
import { errorText, systemClock } from "@ambit/runtime";
import { UsageError } from "../usage-error.ts";

const POLL_MS = 100;

/** A dry run of a policy that is in order must pass; it fails as long as the webhook has no roots, or nobody is behind it. */
export async function admissionAnswers(client: KubeClient, namespace: string, limitMs: number): Promise<void> {
  const { group, version, plural, kind } = KINDS.peerAuthentications;
  const deadline = systemClock.monotonic() + limitMs;
  for (;;) {
    try {
      await client.request("POST", `/apis/${group}/${version}/namespaces/${namespace}/${plural}`, { query: { dryRun: "All" }, body: { apiVersion: `${group}/${version}`, kind, metadata: { generateName: "ambit-install-" }, spec: {} } });
      return;
    } catch (error) {
      // Without the kind there is nothing to admit; without the right to write policies there is nobody who could be refused.
      if (isNotFound(error) || (error instanceof KubeError && error.status === 403 && error.reason === "Forbidden" && !errorText(error).includes("webhook"))) return;
      if (systemClock.monotonic() > deadline) throw new UsageError(`policies cannot be written ${limitMs / 1000} s after istiod is ready: ${errorText(error)}`, { cause: error });
    }
    await systemClock.sleep(POLL_MS);
  }
}
