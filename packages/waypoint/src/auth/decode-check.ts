// Owns what a gRPC authorization provider's answer means (envoy.service.auth.v3 CheckResponse).
import { externalAuth } from "@ambit/proto";
import { fromBinary } from "@bufbuild/protobuf";
import type { CheckFacts } from "../facts.ts";

type Verdict = CheckFacts["verdict"];
type Field = readonly [string, string];

const FORBIDDEN = 403;

/** Bytes that are no answer are a failure of the provider, never an allowance. */
export function decodeCheck(bytes: Uint8Array): Verdict {
  let answer: externalAuth.CheckResponse;
  try {
    answer = fromBinary(externalAuth.CheckResponseSchema, bytes);
  } catch (error) {
    return { kind: "failed", why: `the answer cannot be read: ${error instanceof Error ? error.message : String(error)}`, bodyTooLarge: false };
  }
  const { status, httpResponse } = answer;
  if (status === undefined) return { kind: "failed", why: "the answer has no status", bodyTooLarge: false };
  if (status.code !== 0) {
    const denied = httpResponse.case === "deniedResponse" ? httpResponse.value : undefined;
    const code = denied?.status?.code ?? 0;
    return { kind: "deny", status: code >= 200 && code <= 599 ? code : FORBIDDEN, headers: split(denied?.headers ?? []).flatMap(({ field }) => [field]), body: denied?.body ?? "" };
  }
  const allowed = httpResponse.case === "okResponse" ? httpResponse.value : undefined;
  const headers = split(allowed?.headers ?? []);
  const query = allowed === undefined || (allowed.queryParametersToSet.length === 0 && allowed.queryParametersToRemove.length === 0)
    ? {} : { query: { set: allowed.queryParametersToSet.map((q): Field => [q.key, q.value]), remove: allowed.queryParametersToRemove } };
  return {
    kind: "allow", set: headers.filter((h) => !h.append).map((h) => h.field), append: headers.filter((h) => h.append).map((h) => h.field),
    remove: (allowed?.headersToRemove ?? []).map((n) => n.toLowerCase()).filter((n) => !n.startsWith(":") && n !== "host"),
    toDownstream: split(allowed?.responseHeadersToAdd ?? []).map((h) => h.field), ...query,
  };
}

/** Names in lower case; what no field may be called or hold is left out, as are values that are empty and need not be kept. */
function split(options: readonly externalAuth.HeaderValueOption[]): { readonly field: Field; readonly append: boolean }[] {
  return options.flatMap(({ header, append }) => {
    const name = header?.key.toLowerCase() ?? "";
    const value = header === undefined ? "" : header.rawValue.length > 0 ? new TextDecoder("latin1").decode(header.rawValue) : header.value;
    return /^:?[a-z0-9!#$%&'*+\-.^_`|~]+$/.test(name) && /^[\t\x20-\x7e\x80-\xff]*$/.test(value) ? [{ field: [name, value] as const, append: append === true }] : [];
  });
}
