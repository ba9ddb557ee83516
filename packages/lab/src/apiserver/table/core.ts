// Owns the table columns of the core kinds, EndpointSlices and events.
import { asNumber, asObject, asObjects, asString, dig, isObject, type Json, type JsonObject } from "../json.ts";
import { ageText } from "./duration.ts";
import { AGE, created, joined, mapText, nameOf, orNone, printer, sizeOf, strings, text } from "./cells.ts";
import { podCells } from "./pod-status.ts";
import type { Printer } from "../registry/row.ts";

/** More addresses than this are summed up. */
const MAX_ENDPOINTS = 3;

export const namespaces = printer([text("Status"), AGE], (object) => {
  return [asString(dig(object, "status", "phase")), created(object)];
});

export const pods = printer(
  [text("Ready"), text("Status"), text("Restarts"), AGE, text("IP", 1), text("Node", 1), text("Nominated Node", 1), text("Readiness Gates", 1)],
  (object, now) => {
    const { ready, status, restarts } = podCells(object, now);
    const ips = asObjects(dig(object, "status", "podIPs")).map((item) => asString(item["ip"]));
    const ip = ips[0] ?? asString(dig(object, "status", "podIP"));
    const gates = asObjects(dig(object, "spec", "readinessGates"));
    const conditions = asObjects(dig(object, "status", "conditions"));
    const passed = gates.filter((gate) => conditions.some((c) => c["type"] === gate["conditionType"] && c["status"] === "True"));
    return [
      ready,
      status,
      restarts,
      created(object),
      orNone(ip),
      orNone(asString(dig(object, "spec", "nodeName"))),
      orNone(asString(dig(object, "status", "nominatedNodeName"))),
      gates.length === 0 ? "<none>" : `${passed.length}/${gates.length}`,
    ];
  },
);

export const services = printer(
  [text("Type"), text("Cluster-IP"), text("External-IP"), text("Port(s)"), AGE, text("Selector", 1)],
  (object) => {
    const spec = asObject(object["spec"]);
    const ports = asObjects(spec["ports"]).map((port) => {
      const node = asNumber(port["nodePort"]);
      return `${asNumber(port["port"])}${node > 0 ? `:${node}` : ""}/${asString(port["protocol"])}`;
    });
    const clusterIp = asString(spec["clusterIP"]);
    return [asString(spec["type"]), orNone(clusterIp), externalIp(object), joined(ports), created(object), mapText(spec["selector"])];
  },
);

function externalIp(service: JsonObject): string {
  const spec = asObject(service["spec"]);
  const external = strings(spec["externalIPs"]);
  if (spec["type"] === "ExternalName") return asString(spec["externalName"]);
  if (spec["type"] !== "LoadBalancer") return joined(external);
  const ingress = asObjects(dig(service, "status", "loadBalancer", "ingress"));
  const addresses = [...ingress.map((item) => asString(item["ip"]) || asString(item["hostname"])), ...external];
  return addresses.length === 0 ? "<pending>" : addresses.join(",");
}

export const endpoints = printer([text("Endpoints"), AGE], (object) => {
  const all = asObjects(object["subsets"]).flatMap((subset) => {
    const addresses = asObjects(subset["addresses"]).map((address) => asString(address["ip"]));
    const ports = asObjects(subset["ports"]).map((port) => asNumber(port["port"]));
    return ports.length === 0 ? addresses : ports.flatMap((port) => addresses.map((ip) => `${ip}:${port}`));
  });
  return [summed(all), created(object)];
});

function summed(values: readonly string[]): string {
  if (values.length <= MAX_ENDPOINTS) return joined(values);
  return `${values.slice(0, MAX_ENDPOINTS).join(",")} + ${values.length - MAX_ENDPOINTS} more...`;
}

export const endpointSlices = printer([text("AddressType"), text("Ports"), text("Endpoints"), AGE], (object) => {
  const ports = asObjects(object["ports"]).map((port) => String(asNumber(port["port"])));
  const addresses = asObjects(object["endpoints"]).flatMap((endpoint) => strings(endpoint["addresses"]));
  const shownPorts = ports.length === 0 ? "<unset>" : ports.join(",");
  return [asString(object["addressType"]), shownPorts, addresses.length === 0 ? "<unset>" : summed(addresses), created(object)];
});

export const configMaps = printer([text("Data"), AGE], (object) => {
  return [sizeOf(object["data"]) + sizeOf(object["binaryData"]), created(object)];
});

export const secrets = printer([text("Type"), text("Data"), AGE], (object) => {
  return [asString(object["type"]), sizeOf(object["data"]), created(object)];
});

export const serviceAccounts = printer([AGE], (object) => [created(object)]);

const ROLE_LABEL = "node-role.kubernetes.io/";

export const nodes = printer(
  [
    text("Status"),
    text("Roles"),
    AGE,
    text("Version"),
    text("Internal-IP", 1),
    text("External-IP", 1),
    text("OS-Image", 1),
    text("Kernel-Version", 1),
    text("Container-Runtime", 1),
  ],
  (object) => {
    const info = asObject(dig(object, "status", "nodeInfo"));
    const addresses = asObjects(dig(object, "status", "addresses"));
    const address = (type: string) => orNone(asString(addresses.find((item) => item["type"] === type)?.["address"]));
    const unknown = (value: Json | undefined) => asString(value) || "<unknown>";
    return [
      nodeStatus(object),
      nodeRoles(object),
      created(object),
      asString(info["kubeletVersion"]),
      address("InternalIP"),
      address("ExternalIP"),
      unknown(info["osImage"]),
      unknown(info["kernelVersion"]),
      unknown(info["containerRuntimeVersion"]),
    ];
  },
);

function nodeStatus(node: JsonObject): string {
  const ready = asObjects(dig(node, "status", "conditions")).find((condition) => condition["type"] === "Ready");
  const word = ready === undefined ? "Unknown" : ready["status"] === "True" ? "Ready" : "NotReady";
  return dig(node, "spec", "unschedulable") === true ? `${word},SchedulingDisabled` : word;
}

function nodeRoles(node: JsonObject): string {
  const roles = Object.keys(asObject(dig(node, "metadata", "labels")))
    .filter((label) => label.startsWith(ROLE_LABEL) && label.length > ROLE_LABEL.length)
    .map((label) => label.slice(ROLE_LABEL.length));
  return joined(roles.sort());
}

const EVENT_COLUMNS = [
  { name: "Last Seen", type: "string" as const },
  { name: "Type", type: "string" as const },
  { name: "Reason", type: "string" as const },
  { name: "Object", type: "string" as const },
  text("Subobject", 1),
  text("Source", 1),
  { name: "Message", type: "string" as const },
  text("First Seen", 1),
  text("Count", 1),
  { ...text("Name", 1), format: "name" },
];

interface EventNames {
  readonly about: string;
  readonly message: string;
  readonly first: string;
  readonly last: string;
  readonly count: string;
  readonly source: string;
  readonly component: string;
}

function eventPrinter(names: EventNames): Printer {
  return {
    columns: EVENT_COLUMNS,
    cells(object, now) {
      const about = asObject(object[names.about]);
      const series = asObject(object["series"]);
      const eventTime = asString(object["eventTime"]);
      const first = asString(object[names.first]) || eventTime;
      const last = asString(series["lastObservedTime"]) || asString(object[names.last]) || first;
      const times = asNumber(series["count"]) || asNumber(object[names.count]) || 1;
      const source = asObject(object[names.source]);
      const component = asString(source["component"]) || asString(object[names.component]);
      const kind = asString(about["kind"]).toLowerCase();
      return [
        ageText(last, now),
        asString(object["type"]),
        asString(object["reason"]),
        `${kind}/${asString(about["name"])}`,
        asString(about["fieldPath"]),
        [component, asString(source["host"])].filter((part) => part !== "").join(", "),
        asString(object[names.message]).trim(),
        ageText(first, now),
        times,
        nameOf(object),
      ];
    },
  };
}

export const events = eventPrinter({
  about: "involvedObject",
  message: "message",
  first: "firstTimestamp",
  last: "lastTimestamp",
  count: "count",
  source: "source",
  component: "reportingComponent",
});

export const newEvents = eventPrinter({
  about: "regarding",
  message: "note",
  first: "deprecatedFirstTimestamp",
  last: "deprecatedLastTimestamp",
  count: "deprecatedCount",
  source: "deprecatedSource",
  component: "reportingController",
});

/** Whether a status condition of a type is True. */
export function hasCondition(object: JsonObject, type: string): boolean {
  return asObjects(dig(object, "status", "conditions")).some((c) => isObject(c) && c["type"] === type && c["status"] === "True");
}
