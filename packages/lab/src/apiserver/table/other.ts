// Owns the table columns of leases, RBAC, networking, scheduling and storage kinds.
import { asNumber, asObject, asObjects, asString, dig } from "../json.ts";
import { AGE, count, created, joined, orNone, printer, selectorText, text, flag, moment } from "./cells.ts";

export const leases = printer([text("Holder"), AGE], (object) => [asString(dig(object, "spec", "holderIdentity")), created(object)]);

export const roles = printer([moment("Created At")], (object) => [created(object)]);

export const bindings = printer([text("Role"), AGE, text("Users", 1), text("Groups", 1), text("ServiceAccounts", 1)], (object) => {
  const role = asObject(object["roleRef"]);
  const subjects = asObjects(object["subjects"]);
  const named = (kind: string) => subjects.filter((subject) => subject["kind"] === kind);
  const plain = (kind: string) => named(kind).map((subject) => asString(subject["name"])).join(", ");
  const accounts = named("ServiceAccount").map((subject) => `${asString(subject["namespace"])}/${asString(subject["name"])}`);
  return [`${asString(role["kind"])}/${asString(role["name"])}`, created(object), plain("User"), plain("Group"), accounts.join(", ")];
});

export const networkPolicies = printer([text("Pod-Selector"), AGE], (object) => {
  return [selectorText(dig(object, "spec", "podSelector")), created(object)];
});

export const ingresses = printer([text("Class"), text("Hosts"), text("Address"), text("Ports"), AGE], (object) => {
  const spec = asObject(object["spec"]);
  const hosts = asObjects(spec["rules"]).map((rule) => asString(rule["host"]) || "*");
  const addresses = asObjects(dig(object, "status", "loadBalancer", "ingress")).map((item) => asString(item["ip"]) || asString(item["hostname"]));
  const ports = asObjects(spec["tls"]).length > 0 ? "80, 443" : "80";
  return [orNone(asString(spec["ingressClassName"])), hosts.length === 0 ? "*" : hosts.join(","), addresses.join(","), ports, created(object)];
});

export const ingressClasses = printer([text("Controller"), text("Parameters"), AGE], (object) => {
  const parameters = asObject(dig(object, "spec", "parameters"));
  const shown = joined([asString(parameters["kind"]), asString(parameters["name"])].filter((part) => part !== ""));
  return [asString(dig(object, "spec", "controller")), shown.replace(",", "/"), created(object)];
});

export const priorityClasses = printer([count("Value"), flag("Global-Default"), AGE, text("PreemptionPolicy")], (object) => {
  return [asNumber(object["value"]), object["globalDefault"] === true, created(object), asString(object["preemptionPolicy"])];
});

export const storageClasses = printer(
  [text("Provisioner"), text("ReclaimPolicy"), text("VolumeBindingMode"), text("AllowVolumeExpansion"), AGE],
  (object) => [
    asString(object["provisioner"]),
    asString(object["reclaimPolicy"]),
    asString(object["volumeBindingMode"]),
    String(object["allowVolumeExpansion"] === true),
    created(object),
  ],
);
