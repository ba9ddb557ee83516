// Owns what routes are told of a request.
import type { MatchFacts, RequestTarget, WaypointConfig } from "@ambit/core";
import type { RequestFacts } from "../facts.ts";
import { clientNamespace } from "./routes.ts";

/** `fields` and `target` as the application will see them. */
export function matchFactsOf(config: WaypointConfig, facts: RequestFacts, target: RequestTarget, fields: readonly string[]): MatchFacts {
  const { method, authority, scheme, grpc, connection, token } = facts;
  return {
    ...target, method, authority, scheme, fields, grpc,
    source: { namespace: clientNamespace(connection), labels: clientLabels(config, facts) },
    claims: token?.kind === "valid" ? token.tokens.map((t) => t.claims) : NO_CLAIMS,
  };
}

export function clientLabels(config: WaypointConfig, { connection: { sourceWorkload } }: Pick<RequestFacts, "connection">): Readonly<Record<string, string>> {
  return (sourceWorkload && config.workloadLabels.get(sourceWorkload.uid)) ?? NO_LABELS;
}
const NO_LABELS: Readonly<Record<string, string>> = {};
const NO_CLAIMS: MatchFacts["claims"] = [];
