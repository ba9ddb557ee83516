// Owns the rows of coordination, RBAC, networking, scheduling, storage and apiextensions.
import { asObjects, dig, ensureObject, setDefault, type JsonObject } from "../json.ts";
import { addCleanup, defaultCrd, prepareCrd } from "../crd/defaults.ts";
import { validateCrd } from "../crd/validation.ts";
import { requiresRoleRef, validateLease, validateRole } from "../kinds/validation.ts";
import * as printers from "../table/other.ts";
import { row, type Row } from "./row.ts";

const RBAC = { group: "rbac.authorization.k8s.io", version: "v1", createOnUpdate: true, nameRule: "path" } as const;
const NETWORKING = { group: "networking.k8s.io", version: "v1" };
const STATUS = { metadata: false, atCreate: false };

function defaultBinding(object: JsonObject): void {
  const reference = ensureObject(object, "roleRef");
  setDefault(reference, "apiGroup", RBAC.group);
  for (const subject of Array.isArray(object["subjects"]) ? (object["subjects"] as JsonObject[]) : []) {
    if (subject["kind"] !== "ServiceAccount") setDefault(subject, "apiGroup", RBAC.group);
  }
}

export const otherRows: readonly Row[] = [
  row({
    group: "coordination.k8s.io",
    version: "v1",
    resource: "leases",
    kind: "Lease",
    namespaced: true,
    createOnUpdate: true,
    unconditionalUpdate: false,
    validate: validateLease,
    printer: printers.leases,
  }),
  row({ ...RBAC, resource: "roles", kind: "Role", namespaced: true, validate: validateRole, printer: printers.roles }),
  row({ ...RBAC, resource: "clusterroles", kind: "ClusterRole", namespaced: false, validate: validateRole, printer: printers.roles }),
  row({ ...RBAC, resource: "rolebindings", kind: "RoleBinding", namespaced: true, defaults: defaultBinding, validate: requiresRoleRef, printer: printers.bindings }),
  row({ ...RBAC, resource: "clusterrolebindings", kind: "ClusterRoleBinding", namespaced: false, defaults: defaultBinding, validate: requiresRoleRef, printer: printers.bindings }),
  row({
    ...NETWORKING,
    resource: "networkpolicies",
    kind: "NetworkPolicy",
    namespaced: true,
    shortNames: ["netpol"],
    generation: true,
    printer: printers.networkPolicies,
    defaults: (object) => {
      const spec = ensureObject(object, "spec");
      if (spec["policyTypes"] === undefined) spec["policyTypes"] = spec["egress"] === undefined ? ["Ingress"] : ["Ingress", "Egress"];
      ensureObject(spec, "podSelector");
      for (const rule of [...asObjects(spec["ingress"]), ...asObjects(spec["egress"])]) {
        for (const port of asObjects(rule["ports"])) setDefault(port, "protocol", "TCP");
      }
    },
  }),
  row({ ...NETWORKING, resource: "ingresses", kind: "Ingress", singular: "ingress", namespaced: true, shortNames: ["ing"], status: STATUS, newStatus: { loadBalancer: {} }, generation: true, printer: printers.ingresses }),
  row({ ...NETWORKING, resource: "ingressclasses", kind: "IngressClass", singular: "ingressclass", namespaced: false, generation: true, printer: printers.ingressClasses }),
  row({
    group: "scheduling.k8s.io",
    version: "v1",
    resource: "priorityclasses",
    kind: "PriorityClass",
    singular: "priorityclass",
    namespaced: false,
    shortNames: ["pc"],
    generation: true,
    defaults: (object) => setDefault(object, "preemptionPolicy", "PreemptLowerPriority"),
    printer: printers.priorityClasses,
  }),
  row({
    group: "storage.k8s.io",
    version: "v1",
    resource: "storageclasses",
    kind: "StorageClass",
    singular: "storageclass",
    namespaced: false,
    shortNames: ["sc"],
    defaults: (object) => {
      setDefault(object, "reclaimPolicy", "Delete");
      setDefault(object, "volumeBindingMode", "Immediate");
    },
    printer: printers.storageClasses,
  }),
  row({
    group: "apiextensions.k8s.io",
    version: "v1",
    resource: "customresourcedefinitions",
    kind: "CustomResourceDefinition",
    namespaced: false,
    shortNames: ["crd", "crds"],
    categories: ["api-extensions"],
    status: STATUS,
    generation: true,
    unconditionalUpdate: false,
    defaults: defaultCrd,
    prepare: prepareCrd,
    validate: validateCrd,
    beforeDelete: addCleanup,
    printer: {
      columns: [
        { name: "Name", type: "string", format: "name" },
        { name: "Created At", type: "date", verbatim: true },
      ],
      cells: (object) => [dig(object, "metadata", "name") ?? "", dig(object, "metadata", "creationTimestamp") ?? ""],
    },
  }),
];
