// Owns edits of the node's CNI configuration: our plugin last in the chain, nothing else touched. Text in, text out.
import { err, ok, type Result } from "@ambit/core";

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
  return ok(JSON.stringify(wanted) === JSON.stringify(list) && !parsed.value.converted ? text : `${JSON.stringify(wanted, null, 2)}\n`);
}

export function removePlugin(text: string): Result<string, string> {
  const parsed = parse(text);
  if (!parsed.ok) return parsed;
  const { list, converted } = parsed.value;
  const others = list.plugins.filter((p) => p["type"] !== PLUGIN_TYPE);
  return ok(converted || others.length === list.plugins.length ? text : `${JSON.stringify({ ...list, plugins: others }, null, 2)}\n`);
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
