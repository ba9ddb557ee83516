// Owns the end of events: they go an hour after they were last seen, and the oldest first when there are too many.
import type { Api } from "../context.ts";
import { asObject, asString, dig, type JsonObject } from "../json.ts";

const BUCKET = "/events";
/** Upstream's default life of an event. */
const EVENT_LIFE_MS = 60 * 60 * 1000;
/** A loop that floods the cluster with events must not fill the server's memory. */
const MAX_EVENTS = 10_000;

export function sweepEvents(api: Api): void {
  const bySeen = api.store.list(BUCKET).map((entry) => ({ key: entry.key, seen: lastSeen(entry.object) }));
  bySeen.sort((a, b) => a.seen - b.seen);
  const excess = bySeen.length - MAX_EVENTS;
  for (const [i, { key, seen }] of bySeen.entries()) {
    if (i >= excess && seen > api.now() - EVENT_LIFE_MS) return;
    api.store.remove(BUCKET, key);
  }
}

function lastSeen(event: JsonObject): number {
  const texts = [
    dig(event, "series", "lastObservedTime"),
    event["lastTimestamp"],
    event["eventTime"],
    asObject(event["metadata"])["creationTimestamp"],
  ];
  const times = texts.map((text) => Date.parse(asString(text))).filter((time) => !Number.isNaN(time));
  return Math.max(0, ...times);
}
