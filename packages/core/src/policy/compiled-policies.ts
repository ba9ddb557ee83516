// Owns what a list of policies comes to before any request: which are judged when, and what refuses most requests at a glance.
import type { HttpAuthzFacts, RequestDecider, RequestVerdict } from "./authorize-request.ts";
import { policyKey } from "./policy.ts";
import type { PolicyOperation, PolicySource, RequestPolicy, RequestRule } from "./request-policy.ts";
import type { PolicyKey } from "../workload/workload.ts";

/** Which of a rule's parts held; undefined: it has none of that kind. */
export interface Parts { readonly source: PolicySource | undefined; readonly operation: PolicyOperation | undefined }
/** A rule that held by these parts, and the verdict where nothing else is to be said. */
export interface Decided extends Parts { readonly by: RequestDecider; readonly allowed: Extract<RequestVerdict, { kind: "allow" }> }

/**
 * What must hold of method and path wherever the operation does, whichever way it is read: the literal part of what it names. It can only say no; who
 * passes is still judged by the operation itself.
 */
class OperationHint {
  readonly #methods: readonly string[];
  readonly #paths: readonly string[];
  readonly #prefixes: readonly string[];

  constructor({ methods, paths }: PolicyOperation) {
    const literal = paths.any.every((p) => p.kind === "exact" || p.kind === "prefix");
    this.#methods = methods.any.every((m) => m.kind === "exact") ? methods.any.map((m) => m.value) : [];
    this.#paths = literal ? paths.any.flatMap((p) => (p.kind === "exact" ? p.value : [])) : [];
    this.#prefixes = literal ? paths.any.flatMap((p) => (p.kind === "prefix" ? p.value : [])) : [];
  }

  mayHold({ method, path }: HttpAuthzFacts): boolean {
    if (this.#methods.length > 0 && !isOneOf(this.#methods, method)) return false;
    const prefixes = this.#prefixes;
    for (let i = 0; i < prefixes.length; i++) if (beginsWith(path, prefixes[i] ?? "")) return true;
    return this.#paths.length === 0 ? prefixes.length === 0 : isOneOf(this.#paths, path);
  }
}

/** Most prefixes are another's: their last character tells that without a call. */
function beginsWith(text: string, prefix: string): boolean {
  const last = prefix.length - 1;
  return last < 0 || (text.charCodeAt(last) === prefix.charCodeAt(last) && text.startsWith(prefix));
}

function isOneOf(list: readonly string[], text: string): boolean {
  for (let i = 0; i < list.length; i++) if (list[i] === text) return true;
  return false;
}

export class CompiledRule {
  readonly rule: RequestRule;
  readonly index: number;
  /** Ways in which it held so far: nearly every request is allowed by the same few. */
  readonly decided: Decided[] = [];
  readonly #hints: readonly OperationHint[];

  constructor(rule: RequestRule, index: number) {
    this.rule = rule;
    this.index = index;
    this.#hints = rule.to.map((o) => new OperationHint(o));
  }

  /** False: it does not, whoever asks. */
  mayHold(http: HttpAuthzFacts | undefined): boolean {
    const hints = this.#hints;
    if (http === undefined || hints.length === 0) return true;
    for (let i = 0; i < hints.length; i++) if (hints[i]?.mayHold(http) === true) return true;
    return false;
  }
}

export class CompiledPolicy {
  readonly policy: RequestPolicy;
  readonly key: PolicyKey;
  readonly rules: readonly CompiledRule[];

  constructor(policy: RequestPolicy) {
    this.policy = policy;
    this.key = policyKey(policy);
    this.rules = policy.rules.map((r, i) => new CompiledRule(r, i));
  }
}

export interface CompiledPolicies {
  /** Refused ones that count; the first is named. */
  readonly refused: RequestPolicy | undefined;
  /** Judged whatever the others say, in order. */
  readonly always: readonly CompiledPolicy[];
  /** Those of which one must hold. */
  readonly allowing: readonly CompiledPolicy[];
}

/** Policies and lists of them belong to a configuration and never change. */
const compiledLists = new WeakMap<readonly RequestPolicy[], CompiledPolicies>();
const compiledPolicies = new WeakMap<RequestPolicy, CompiledPolicy>();

/** The last list that was asked about: mostly the next one, too. */
let lastList: readonly RequestPolicy[] = [];
let lastCompiled = compile(lastList);

export function compiledOf(list: readonly RequestPolicy[]): CompiledPolicies {
  if (list === lastList) return lastCompiled;
  let compiled = compiledLists.get(list);
  if (compiled === undefined) compiledLists.set(list, (compiled = compile(list)));
  lastList = list;
  lastCompiled = compiled;
  return compiled;
}

function compile(list: readonly RequestPolicy[]): CompiledPolicies {
  const sound = list.filter((p) => p.refused === undefined);
  const allows = (p: RequestPolicy): boolean => p.action === "allow" && !p.dryRun;
  return { refused: list.find((p) => p.refused !== undefined && !p.dryRun), always: sound.filter((p) => !allows(p)).map(compileOne), allowing: sound.filter(allows).map(compileOne) };
}

function compileOne(policy: RequestPolicy): CompiledPolicy {
  let compiled = compiledPolicies.get(policy);
  if (compiled === undefined) compiledPolicies.set(policy, (compiled = new CompiledPolicy(policy)));
  return compiled;
}
