// Owns an installation as a value: its parts in order, and the record that will say what it made. Pure.
import type { Chart, ValueMap } from "@ambit/charts";
import type { KubeObject } from "@ambit/kube";
import { encodeInventory, idOf, type ObjectId } from "./inventory.ts";
import { meshStages, type Stage } from "./mesh-objects.ts";

export interface Installation { readonly stages: readonly Stage[]; readonly objects: readonly ObjectId[]; readonly record: KubeObject }
export interface Order { readonly namespace: string; readonly revision: string; readonly version: string; readonly values: ValueMap }

/** Throws ValuesError or TemplateError. */
export function installationOf(charts: readonly Chart[], order: Order): Installation {
  const stages = meshStages(charts, order);
  const objects = stages.flatMap((s) => s.objects.map(idOf));
  return { stages, objects, record: recordOf(order, objects) };
}

export const recordOf = (order: Order, objects: readonly ObjectId[]): KubeObject => encodeInventory({ version: order.version, values: order.values, objects }, order.namespace, order.revision);
