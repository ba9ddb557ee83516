// Owns the answer to one AdmissionReview (admission.k8s.io/v1): decoded, judged by the rules of status, answered in their words.
import type { Problem } from "@ambit/core";
import type { KubeObject } from "@ambit/kube";
import { sourceOf } from "../collections/kinds.ts";
import type { Settings } from "../collections/settings.ts";
import { judgeObject, refusalText } from "../rules/judge.ts";

export interface AdmissionAnswer {
  readonly uid: string;
  readonly allowed: boolean;
  readonly status?: { readonly code: number; readonly reason: string; readonly message: string };
  readonly warnings?: readonly string[];
}

export type Answered = { readonly ok: true; readonly kind: string; readonly answer: AdmissionAnswer } | { readonly ok: false; readonly error: string };

/** API servers cut what is longer. */
const WARNING_MAX = 256;
const WARNINGS_MAX = 10;
const MESSAGE_MAX = 2_048;

const record = (v: unknown): Readonly<Record<string, unknown>> | undefined => (typeof v === "object" && v !== null && !Array.isArray(v) ? (v as Record<string, unknown>) : undefined);

/** `body` is the request's text. Not an AdmissionReview: an error, which the caller's failurePolicy then decides about. */
export function answerReview(body: string, settings: Settings): Answered {
  let parsed: unknown;
  try {
    parsed = JSON.parse(body);
  } catch {
    return { ok: false, error: "the body is not JSON" };
  }
  const request = record(record(parsed)?.["request"]);
  const uid = request?.["uid"];
  if (record(parsed)?.["kind"] !== "AdmissionReview" || request === undefined || typeof uid !== "string" || uid === "") return { ok: false, error: "the body is not an AdmissionReview with a request" };
  const object = record(request["object"]) as KubeObject | undefined;
  if (request["operation"] === "DELETE" || object === undefined) return { ok: true, kind: "", answer: { uid, allowed: true } };
  const source = sourceOf(object);
  const kind = object.kind ?? "";
  // Whoever registered us for more than we read gets told, not refused.
  if (source === undefined) return { ok: true, kind, answer: { uid, allowed: true, warnings: [`${kind} is not read by this mesh: it has no effect`] } };
  const { problems, warnings } = judgeObject(source, inNamespace(object, request["namespace"]), settings);
  const before = record(request["oldObject"]) as KubeObject | undefined;
  if (problems.length === 0) return { ok: true, kind, answer: { uid, allowed: true, ...(warnings.length === 0 ? {} : { warnings: bounded(warnings) }) } };
  // What was wrong before may be labelled, finalized and mended step by step.
  if (before !== undefined && isNoWorse(problems, judgeObject(source, inNamespace(before, request["namespace"]), settings).problems))
    return { ok: true, kind, answer: { uid, allowed: true, warnings: bounded(problems.map((p) => `still not understood: ${p.path} ${p.message}`)) } };
  return { ok: true, kind, answer: { uid, allowed: false, status: { code: 400, reason: "Invalid", message: refusalText(object, problems).slice(0, MESSAGE_MAX) } } };
}

/** Objects without a name yet (generateName) or namespace are on their way to have one. */
function inNamespace(object: KubeObject, namespace: unknown): unknown {
  const meta = record(object.metadata) ?? {};
  const named = typeof meta["name"] === "string" && meta["name"] !== "" ? meta["name"] : "unnamed";
  return { ...object, metadata: { ...meta, name: named, ...(meta["namespace"] === undefined && typeof namespace === "string" && namespace !== "" ? { namespace } : {}) } };
}

const isNoWorse = (now: readonly Problem[], before: readonly Problem[]): boolean => now.every((p) => before.some((b) => b.path === p.path && b.message === p.message));

const bounded = (texts: readonly string[]): string[] => texts.slice(0, WARNINGS_MAX).map((t) => (t.length > WARNING_MAX ? `${t.slice(0, WARNING_MAX - 1)}…` : t));
