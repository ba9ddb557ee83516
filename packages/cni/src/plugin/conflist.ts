// Owns edits of the node's CNI configuration: our plugin last in the chain, nothing else touched. Text in, text out.
import { err, ok, type Result } from "@ambit/core";
import { elementsOf } from "./json-text.ts";

export const PLUGIN_TYPE = "istio-cni";
/** A bare .conf becomes a list under this name, as Istio's installer does. */
const CONVERTED_NAME = "k8s-pod-network";

export type PluginConfig = Readonly<Record<string, unknown>> & { readonly type: string };

/** Returns the same text when nothing has to change, so that a watcher settles. */
export function addPlugin(text: string, plugin: PluginConfig): Result<string, string> {
  const parsed = parse(text);
  if (!parsed.ok) return parsed;
  const { list } = parsed.value;
  const others = list.plugins.filter((p) => p["type"] !== PLUGIN_TYPE);
  if (others.length === 0) return err("the configuration has no plugin of another kind to chain to");
  const wanted = { ...list, plugins: [...others, plugin] };
  if (JSON.stringify(wanted) === JSON.stringify(list) && !parsed.value.converted) return ok(text);
  const removed = removePlugin(text);
  const spliced = removed.ok && !parsed.value.converted ? append(removed.value, plugin) : undefined;
  return ok(spliced !== undefined && isSame(spliced, wanted) ? spliced : written(wanted));
}

/** What we appended is cut out again, to the octet; elsewhere the list is written anew without us. */

export function removePlugin(text: string): Result<string, string> {
  const parsed = parse(text);
  if (!parsed.ok) return parsed;
  const { list, converted } = parsed.value;
  const others = list.plugins.filter((p) => p["type"] !== PLUGIN_TYPE);
  if (converted || others.length === list.plugins.length) return ok(text);
  const wanted = { ...list, plugins: others };
  const spliced = cutOut(text, list.plugins.map((p) => p["type"] === PLUGIN_TYPE));
  return ok(spliced !== undefined && isSame(spliced, wanted) ? spliced : written(wanted));
}

const written = (list: object): string => `${JSON.stringify(list, null, 2)}\n`;
const isSame = (text: string, wanted: object): boolean => JSON.stringify(JSON.parse(text)) === JSON.stringify(wanted);

function append(text: string, plugin: PluginConfig): string | undefined {
  const last = elementsOf(text, "plugins")?.at(-1);
  return last === undefined ? undefined : `${text.slice(0, last.end)}, ${JSON.stringify(plugin)}${text.slice(last.end)}`;
}

function cutOut(text: string, ours: readonly boolean[]): string | undefined {
  const elements = elementsOf(text, "plugins");
  if (elements?.length !== ours.length || ours[0] === true) return undefined;
  return ours.reduceRight((rest, own, i) => {
    const [before, at] = [elements[i - 1], elements[i]];
    return own && before !== undefined && at !== undefined ? rest.slice(0, before.end) + rest.slice(at.end) : rest;
  }, text);
}

interface List { readonly plugins: readonly Record<string, unknown>[]; readonly [key: string]: unknown }

function parse(text: string): Result<{ list: List; converted: boolean }, string> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return err(`not JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return err("not a JSON object");
  const record = value as Record<string, unknown>;
  if (record["plugins"] === undefined) {
    if (typeof record["type"] !== "string") return err(`neither "plugins" nor "type" is there`);
    const { cniVersion, name: _name, ...single } = record;
    return ok({ converted: true, list: { name: CONVERTED_NAME, ...(cniVersion === undefined ? {} : { cniVersion }), plugins: [single] } });
  }
  const plugins = record["plugins"];
  const good = Array.isArray(plugins) && plugins.every((p) => typeof p === "object" && p !== null && typeof (p as { type?: unknown }).type === "string");
  return good ? ok({ converted: false, list: record as unknown as List }) : err(`"plugins" must be a list of objects with a "type"`);
}
