// Owns the STATUS, READY and RESTARTS cells of pods: the one word kubectl users read a pod's state from.
import { asNumber, asObject, asObjects, asString, isObject, type JsonObject } from "../json.ts";
import { humanDuration } from "./duration.ts";

interface PodCells {
  readonly ready: string;
  readonly status: string;
  readonly restarts: string;
}

export function podCells(pod: JsonObject, now: number): PodCells {
  const spec = asObject(pod["spec"]);
  const status = asObject(pod["status"]);
  const specs = asObjects(spec["containers"]);
  const main = asObjects(status["containerStatuses"]);
  const init = asObjects(status["initContainerStatuses"]);
  const sidecars = new Set(
    asObjects(spec["initContainers"])
      .filter((container) => container["restartPolicy"] === "Always")
      .map((container) => asString(container["name"])),
  );
  const counted = [...main, ...init.filter((container) => sidecars.has(asString(container["name"])))];
  const ready = counted.filter((container) => container["ready"] === true && isObject(asObject(container["state"])["running"]));
  const initWord = initStatus(init, sidecars, asObjects(spec["initContainers"]).length);
  const restarting = initWord === null ? counted : init;
  return {
    ready: `${ready.length}/${specs.length + sidecars.size}`,
    status: statusWord(pod, initWord, main),
    restarts: restartText(restarting, now),
  };
}

function statusWord(pod: JsonObject, initWord: string | null, containers: readonly JsonObject[]): string {
  const status = asObject(pod["status"]);
  const deleted = asObject(pod["metadata"])["deletionTimestamp"] !== undefined;
  const reason = asString(status["reason"]);
  if (deleted) return reason === "NodeLost" ? "Unknown" : "Terminating";
  if (initWord !== null) return initWord;
  let word = reason || asString(status["phase"]) || "Pending";
  const gate = asObjects(status["conditions"]).find((c) => c["type"] === "PodScheduled" && c["reason"] === "SchedulingGated");
  if (gate !== undefined) word = "SchedulingGated";
  let running = false;
  for (const container of [...containers].reverse()) {
    const state = asObject(container["state"]);
    const waiting = asString(asObject(state["waiting"])["reason"]);
    const ended = asObject(state["terminated"]);
    if (waiting !== "") word = waiting;
    else if (isObject(state["terminated"])) word = endedWord(ended);
    else if (container["ready"] === true && isObject(state["running"])) running = true;
  }
  if (word === "Completed" && running) return isReady(status) ? "Running" : "NotReady";
  return word;
}

function endedWord(ended: JsonObject): string {
  const reason = asString(ended["reason"]);
  if (reason !== "") return reason;
  const signal = asNumber(ended["signal"]);
  return signal !== 0 ? `Signal:${signal}` : `ExitCode:${asNumber(ended["exitCode"])}`;
}

function isReady(status: JsonObject): boolean {
  return asObjects(status["conditions"]).some((c) => c["type"] === "Ready" && c["status"] === "True");
}

/** "Init:…" while an init container is not done, else null. */
function initStatus(statuses: readonly JsonObject[], sidecars: ReadonlySet<string>, total: number): string | null {
  for (const [i, container] of statuses.entries()) {
    const state = asObject(container["state"]);
    const ended = state["terminated"];
    if (isObject(ended)) {
      if (asNumber(ended["exitCode"]) === 0) continue;
      return `Init:${endedWord(ended)}`;
    }
    if (sidecars.has(asString(container["name"])) && container["started"] === true) continue;
    const waiting = asString(asObject(state["waiting"])["reason"]);
    return waiting !== "" && waiting !== "PodInitializing" ? `Init:${waiting}` : `Init:${i}/${total}`;
  }
  return null;
}

function restartText(statuses: readonly JsonObject[], now: number): string {
  let restarts = 0;
  let latest = 0;
  for (const container of statuses) {
    restarts += asNumber(container["restartCount"]);
    const at = Date.parse(asString(asObject(asObject(container["lastState"])["terminated"])["finishedAt"]));
    if (!Number.isNaN(at)) latest = Math.max(latest, at);
  }
  return restarts > 0 && latest > 0 ? `${restarts} (${humanDuration((now - latest) / 1000)} ago)` : String(restarts);
}
