// Owns pods that are there before the mesh comes and after it has gone: what it does to them it must undo.
import { accountOf, documents, namespaceOf, samplePod, serviceOf } from "../e2e/client-log.fixture.ts";

export const BYSTANDERS = "bystanders";
export const NAMES = ["server", "client"] as const;
const EVERY_MS = 50;

/** They ask and answer all the time; their namespace has the label from the start. */
export const bystanders = (): string => documents(
  namespaceOf(BYSTANDERS, true), ...NAMES.map((n) => accountOf(n, BYSTANDERS)), serviceOf("server", BYSTANDERS),
  samplePod({ name: "server", namespace: BYSTANDERS, account: "server", node: "node-2", args: ["serve", "--name", "server"] }),
  samplePod({ name: "client", namespace: BYSTANDERS, account: "client", node: "node-1", args: ["client", "--url", `http://server.${BYSTANDERS}:8080/`, "--hold", `server.${BYSTANDERS}:9080`, "--every", String(EVERY_MS)] }),
);
