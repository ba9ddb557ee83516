// Owns the rows of the core group, events.k8s.io and discovery.k8s.io.
import { asObject, asString, dig, ensureObject, setDefault, type JsonObject } from "../json.ts";
import { defaultEvent, defaultNewEvent, eventFromCore, eventToCore, validateEvent, validateNewEvent } from "../kinds/events.ts";
import { defaultPod, podGrace, preparePod } from "../kinds/pod-defaults.ts";
import { validateConfigMap, validateSecret } from "../kinds/data-validation.ts";
import { validatePod } from "../kinds/pod-validation.ts";
import { validateService } from "../kinds/validation.ts";
import { defaultEndpoints, defaultEndpointSlice, defaultSecret, defaultService } from "../kinds/workload-defaults.ts";
import * as printers from "../table/core.ts";
import { row, type Row } from "./row.ts";

const CORE = { group: "", version: "v1" };
const STATUS = { metadata: false, atCreate: false };

function text(object: JsonObject, ...path: string[]): string {
  const value = dig(object, ...path);
  return typeof value === "string" ? value : typeof value === "boolean" || typeof value === "number" ? String(value) : "";
}

function podFields(object: JsonObject): Record<string, string> {
  const status = asObject(object["status"]);
  return {
    "spec.nodeName": text(object, "spec", "nodeName"),
    "spec.restartPolicy": text(object, "spec", "restartPolicy"),
    "spec.schedulerName": text(object, "spec", "schedulerName"),
    "spec.serviceAccountName": text(object, "spec", "serviceAccountName"),
    "spec.hostNetwork": text(object, "spec", "hostNetwork") || "false",
    "status.phase": asString(status["phase"]),
    "status.podIP": asString(status["podIP"]),
    "status.nominatedNodeName": asString(status["nominatedNodeName"]),
  };
}

const EVENT_FIELDS = ["kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath"];
const CORE_EVENT_FIELDS = [...EVENT_FIELDS.map((name) => `involvedObject.${name}`), "reason", "reportingComponent", "source", "type"];
const NEW_EVENT_FIELDS = [...EVENT_FIELDS.map((name) => `regarding.${name}`), "reason", "reportingController", "type"];

/** `object` is the stored (core) form for both event rows. */
function eventFields(prefix: string): (object: JsonObject) => Record<string, string> {
  return (object) => {
    const about = asObject(object["involvedObject"]);
    const fields: Record<string, string> = {
      reason: asString(object["reason"]),
      type: asString(object["type"]),
      reportingComponent: asString(object["reportingComponent"]),
      reportingController: asString(object["reportingComponent"]),
      source: asString(asObject(object["source"])["component"]) || asString(object["reportingComponent"]),
    };
    for (const name of EVENT_FIELDS) fields[`${prefix}.${name}`] = asString(about[name]);
    return fields;
  };
}

function defaultNamespace(object: JsonObject): void {
  const status = ensureObject(object, "status");
  setDefault(status, "phase", "Active");
}

/** New namespaces wait for the namespace controller's finalizer when they go. */
function prepareNamespace(object: JsonObject, before: JsonObject | null): void {
  const spec = ensureObject(object, "spec");
  if (before === null) spec["finalizers"] = ["kubernetes"];
  else object["spec"] = before["spec"] ?? {};
}

const namespaceFields = (object: JsonObject) => ({ "status.phase": text(object, "status", "phase") });

export const coreRows: readonly Row[] = [
  row({
    ...CORE,
    resource: "namespaces",
    kind: "Namespace",
    namespaced: false,
    shortNames: ["ns"],
    status: STATUS,
    subresources: ["finalize"],
    deletesCollection: false,
    returnsDeleted: true,
    nameRule: "label",
    defaults: defaultNamespace,
    prepare: prepareNamespace,
    fields: namespaceFields,
    fieldNames: ["status.phase"],
    printer: printers.namespaces,
  }),
  row({
    ...CORE,
    resource: "pods",
    kind: "Pod",
    namespaced: true,
    shortNames: ["po"],
    categories: ["all"],
    status: { metadata: true, atCreate: false },
    subresources: ["binding", "eviction", "log", "exec", "attach", "portforward"],
    generation: true,
    returnsDeleted: true,
    grace: podGrace,
    defaults: defaultPod,
    prepare: preparePod,
    validate: validatePod,
    fields: podFields,
    fieldNames: Object.keys(podFields({})),
    printer: printers.pods,
  }),
  row({
    ...CORE,
    resource: "services",
    kind: "Service",
    namespaced: true,
    shortNames: ["svc"],
    categories: ["all"],
    status: { metadata: false, atCreate: false },
    createOnUpdate: true,
    returnsDeleted: true,
    nameRule: "label-1035",
    defaults: defaultService,
    prepare: (object, before) => {
      if (before === null) object["status"] = { loadBalancer: {} };
    },
    validate: validateService,
    fields: (object) => ({ "spec.clusterIP": text(object, "spec", "clusterIP"), "spec.type": text(object, "spec", "type") }),
    fieldNames: ["spec.clusterIP", "spec.type"],
    printer: printers.services,
  }),
  row({ ...CORE, resource: "endpoints", kind: "Endpoints", singular: "endpoints", namespaced: true, shortNames: ["ep"], createOnUpdate: true, defaults: defaultEndpoints, printer: printers.endpoints }),
  row({ ...CORE, resource: "configmaps", kind: "ConfigMap", namespaced: true, shortNames: ["cm"], validate: validateConfigMap, printer: printers.configMaps }),
  row({
    ...CORE,
    resource: "secrets",
    kind: "Secret",
    namespaced: true,
    defaults: defaultSecret,
    validate: validateSecret,
    fields: (object) => ({ type: asString(object["type"]) }),
    fieldNames: ["type"],
    printer: printers.secrets,
  }),
  row({
    ...CORE,
    resource: "serviceaccounts",
    kind: "ServiceAccount",
    namespaced: true,
    shortNames: ["sa"],
    subresources: ["token"],
    returnsDeleted: true,
    printer: printers.serviceAccounts,
  }),
  row({
    ...CORE,
    resource: "nodes",
    kind: "Node",
    namespaced: false,
    shortNames: ["no"],
    status: { metadata: true, atCreate: true },
    fields: (object) => ({ "spec.unschedulable": text(object, "spec", "unschedulable") || "false" }),
    fieldNames: ["spec.unschedulable"],
    printer: printers.nodes,
  }),
  row({
    ...CORE,
    resource: "events",
    kind: "Event",
    namespaced: true,
    shortNames: ["ev"],
    bucket: "/events",
    createOnUpdate: true,
    defaults: defaultEvent,
    validate: validateEvent,
    fields: eventFields("involvedObject"),
    fieldNames: CORE_EVENT_FIELDS,
    printer: printers.events,
  }),
  row({
    group: "events.k8s.io",
    version: "v1",
    resource: "events",
    kind: "Event",
    namespaced: true,
    shortNames: ["ev"],
    bucket: "/events",
    createOnUpdate: true,
    defaults: defaultNewEvent,
    validate: validateNewEvent,
    fields: eventFields("regarding"),
    fieldNames: NEW_EVENT_FIELDS,
    toStored: eventToCore,
    fromStored: eventFromCore,
    printer: printers.newEvents,
  }),
  row({
    group: "discovery.k8s.io",
    version: "v1",
    resource: "endpointslices",
    kind: "EndpointSlice",
    namespaced: true,
    generation: true,
    defaults: defaultEndpointSlice,
    printer: printers.endpointSlices,
  }),
];
