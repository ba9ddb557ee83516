// Owns the table columns of apps, batch, autoscaling and policy kinds.
import { asNumber, asObject, asObjects, asString, dig, type Json, type JsonObject } from "../json.ts";
import { AGE, containerCells, count, created, mapText, orNone, printer, selectorText, text, flag } from "./cells.ts";
import { hasCondition } from "./core.ts";
import { ageText, humanDuration } from "./duration.ts";

const IMAGES = [text("Containers", 1), text("Images", 1), text("Selector", 1)];

function imageCells(object: JsonObject): Json[] {
  const spec = asObject(dig(object, "spec", "template", "spec"));
  return [...containerCells(spec), selectorText(dig(object, "spec", "selector"))];
}

function statusCount(object: JsonObject, field: string): number {
  return asNumber(dig(object, "status", field));
}

function wanted(object: JsonObject): number {
  return asNumber(dig(object, "spec", "replicas"));
}

export const deployments = printer([text("Ready"), text("Up-to-date"), text("Available"), AGE, ...IMAGES], (object) => {
  const ready = `${statusCount(object, "readyReplicas")}/${wanted(object)}`;
  return [ready, statusCount(object, "updatedReplicas"), statusCount(object, "availableReplicas"), created(object), ...imageCells(object)];
});

export const replicaSets = printer([count("Desired"), count("Current"), count("Ready"), AGE, ...IMAGES], (object) => {
  return [wanted(object), statusCount(object, "replicas"), statusCount(object, "readyReplicas"), created(object), ...imageCells(object)];
});

export const statefulSets = printer([text("Ready"), AGE, text("Containers", 1), text("Images", 1)], (object) => {
  const [names, images] = containerCells(asObject(dig(object, "spec", "template", "spec")));
  return [`${statusCount(object, "readyReplicas")}/${wanted(object)}`, created(object), names, images];
});

export const daemonSets = printer(
  [count("Desired"), count("Current"), count("Ready"), count("Up-to-date"), count("Available"), text("Node Selector"), AGE, ...IMAGES],
  (object) => [
    statusCount(object, "desiredNumberScheduled"),
    statusCount(object, "currentNumberScheduled"),
    statusCount(object, "numberReady"),
    statusCount(object, "updatedNumberScheduled"),
    statusCount(object, "numberAvailable"),
    mapText(dig(object, "spec", "template", "spec", "nodeSelector")),
    created(object),
    ...imageCells(object),
  ],
);

export const controllerRevisions = printer([text("Controller"), count("Revision"), AGE], (object) => {
  const owner = asObjects(dig(object, "metadata", "ownerReferences")).find((reference) => reference["controller"] === true);
  const kind = asString(owner?.["kind"]).toLowerCase();
  const group = asString(owner?.["apiVersion"]).split("/");
  const qualified = group.length === 2 ? `${kind}.${group[0]}` : kind;
  return [owner === undefined ? "<none>" : `${qualified}/${asString(owner["name"])}`, asNumber(object["revision"]), created(object)];
});

export const jobs = printer([text("Status"), text("Completions"), text("Duration"), AGE, ...IMAGES], (object, now) => {
  const spec = asObject(object["spec"]);
  const done = statusCount(object, "succeeded");
  const parallel = asNumber(spec["parallelism"]);
  const total = spec["completions"];
  const completions = typeof total === "number" ? `${done}/${total}` : parallel > 1 ? `${done}/1 of ${parallel}` : `${done}/1`;
  const start = Date.parse(asString(dig(object, "status", "startTime")));
  const end = Date.parse(asString(dig(object, "status", "completionTime")));
  const duration = Number.isNaN(start) ? "" : humanDuration(((Number.isNaN(end) ? now : end) - start) / 1000);
  return [jobStatus(object), completions, duration, created(object), ...imageCells(object)];
});

function jobStatus(job: JsonObject): string {
  for (const type of ["Complete", "Failed", "Suspended", "FailureTarget", "SuccessCriteriaMet"]) {
    if (hasCondition(job, type)) return type;
  }
  return dig(job, "metadata", "deletionTimestamp") === undefined ? "Running" : "Terminating";
}

export const cronJobs = printer(
  [text("Schedule"), text("Timezone"), flag("Suspend"), count("Active"), text("Last Schedule"), AGE, text("Containers", 1), text("Images", 1), text("Selector", 1)],
  (object, now) => {
    const spec = asObject(object["spec"]);
    const last = asString(dig(object, "status", "lastScheduleTime"));
    const [names, images] = containerCells(asObject(dig(spec, "jobTemplate", "spec", "template", "spec")));
    return [
      asString(spec["schedule"]),
      orNone(asString(spec["timeZone"])),
      spec["suspend"] === true ? "True" : "False",
      asObjects(dig(object, "status", "active")).length,
      last === "" ? "<none>" : ageText(last, now),
      created(object),
      names,
      images,
      selectorText(dig(spec, "jobTemplate", "spec", "selector")),
    ];
  },
);

export const autoscalers = printer([text("Reference"), text("Targets"), text("MinPods"), text("MaxPods"), text("Replicas"), AGE], (object) => {
  const target = asObject(dig(object, "spec", "scaleTargetRef"));
  return [
    `${asString(target["kind"])}/${asString(target["name"])}`,
    targets(object),
    String(asNumber(dig(object, "spec", "minReplicas"), 1)),
    asNumber(dig(object, "spec", "maxReplicas")),
    statusCount(object, "currentReplicas"),
    created(object),
  ];
});

/** Nothing measures here: each target with its current value unknown. */
function targets(object: JsonObject): string {
  const shown = asObjects(dig(object, "spec", "metrics")).map((metric) => {
    const resource = asObject(metric["resource"]);
    const target = asObject(resource["target"]);
    const wanted = target["averageUtilization"] === undefined ? asString(target["averageValue"]) : `${asNumber(target["averageUtilization"])}%`;
    return metric["type"] === "Resource" ? `${asString(resource["name"])}: <unknown>/${wanted}` : "<unknown>";
  });
  return shown.length === 0 ? "<none>" : shown.join(", ");
}

export const disruptionBudgets = printer([text("Min Available"), text("Max Unavailable"), count("Allowed Disruptions"), AGE], (object) => {
  const bound = (field: string) => {
    const value = dig(object, "spec", field);
    return typeof value === "string" || typeof value === "number" ? String(value) : "N/A";
  };
  return [bound("minAvailable"), bound("maxUnavailable"), statusCount(object, "disruptionsAllowed"), created(object)];
});
