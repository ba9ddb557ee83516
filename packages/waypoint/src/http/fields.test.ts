import assert from "node:assert/strict";
import { addedFields, answerFields, applyChange, dropFirst, marksOf, passedFields, replyFields, seenFields as seenOf, type SeenFields } from "./fields.ts";
import { failureReply, renderReply, reply } from "./local-reply.ts";
import type { ForwardPlan } from "./options.ts";
import { connectionFacts, forwardPlan } from "./rig.fixture.ts";
import { badRequest } from "./request.ts";
import { EventTime } from "./event-time.ts";
import { systemClock } from "@ambit/runtime";
import type { AttemptFailure } from "./upstream/upstreams.ts";

const id = (): string => "id-1";
const seenFields = (fields: string[], upgrade: string | undefined, crumbs: boolean, newId: () => string): SeenFields => seenOf(fields, marksOf(fields), upgrade, crumbs, newId);
const ADDED = ["x-request-id", "id-1", "x-forwarded-proto", "http"];

describe("the fields that policies see", () => {
  const cases: [string, string[], string | undefined, string[]][] = [
    ["end-to-end ones stay, in order", ["a", "1", "b", "2", "a", "3"], undefined, ["a", "1", "b", "2", "a", "3", ...ADDED]],
    ["hop-by-hop ones and those that Connection names go", ["connection", "keep-alive, x-a", "keep-alive", "1", "x-a", "1", "proxy-connection", "1", "transfer-encoding", "chunked", "upgrade", "h2c", "b", "2"], undefined, ["b", "2", ...ADDED]],
    ["te stays for trailers only", ["te", "gzip, trailers", "te", "deflate"], undefined, ["te", "trailers", ...ADDED]],
    ["an upgrade keeps what asks for it", ["connection", "keep-alive, Upgrade", "upgrade", "websocket"], "websocket", ["connection", "upgrade", "upgrade", "websocket", ...ADDED]],
    ["S7 what only the mesh may say goes", ["x-forwarded-client-cert", "By=x", "x-envoy-original-path", "/admin", "x-envoy-attempt-count", "9"], undefined, ADDED],
    ["an id and a scheme that are there stay", ["x-request-id", "mine", "x-forwarded-proto", "https"], undefined, ["x-request-id", "mine", "x-forwarded-proto", "https"]],
  ];
  for (const [name, fields, upgrade, expected] of cases) it(name, () => assert.deepEqual(seenFields(fields, upgrade, false, id).fields, expected));
  it("crumbs of HTTP/2 become one cookie", () => {
    assert.deepEqual(seenFields(["cookie", "a=1", "b", "2", "cookie", "c=3"], undefined, true, id).fields, ["b", "2", "cookie", "a=1; c=3", ...ADDED]);
    assert.deepEqual(seenFields(["cookie", "a=1", "cookie", "c=3"], undefined, false, id).fields, ["cookie", "a=1", "cookie", "c=3", ...ADDED]);
  });
  it("an id and a scheme that Connection names are not there", () =>
    assert.deepEqual(seenFields(["x-request-id", "mine", "x-forwarded-proto", "https", "connection", "x-request-id, X-Forwarded-Proto"], undefined, false, id).fields, ADDED));
  it("of HTTP/2 stand behind pseudo-fields", () => {
    const fields = [":method", "GET", ":path", "/", "a", "1"];
    dropFirst(fields, 4);
    assert.deepEqual(fields, ["a", "1"]);
  });
});

const NOTHING = { fields: [], marks: 0 };
const of = (fields: readonly string[], seen: Parameters<typeof passedFields>[1] = NOTHING, o: { attempt?: number; expectedMs?: number; keepExpect?: boolean } = {}): string[] | undefined =>
  passedFields(fields, seen, o.expectedMs !== undefined, o.keepExpect === true)?.concat(addedFields(o.attempt ?? 1, o.expectedMs));

describe("the fields that leave", () => {
  it("have the attempt, no framing, and no expectation unless it is passed on", () => {
    const planned = ["host", "x", "content-length", "5", "expect", "100-continue", "a", "1"];
    assert.deepEqual(of(planned, NOTHING, { attempt: 2, expectedMs: 99.2 }), ["a", "1", "x-envoy-attempt-count", "2", "x-envoy-expected-rq-timeout-ms", "100"]);
    assert.deepEqual(of(planned, NOTHING, { keepExpect: true }), ["expect", "100-continue", "a", "1", "x-envoy-attempt-count", "1"]);
  });
  it("are a list of their own only where something changes", () => {
    for (const more of [[], ["content-length", "5", "b", "2"], ["expect", "100-continue"], ["te", "trailers"]]) {
      const seen = seenFields(["x-request-id", "1", "x-forwarded-proto", "http", ...more], undefined, false, id);
      const before = seen.fields.slice();
      const kept = before.filter((_, i) => !["content-length", "expect"].includes(before[i - (i % 2)] ?? ""));
      for (const attempt of [1, 2]) assert.deepEqual(of(seen.fields, seen, { attempt }), [...kept, "x-envoy-attempt-count", String(attempt)]);
      assert.deepEqual(seen.fields, before);
      assert.equal(passedFields(seen.fields, seen, true, false) === seen.fields, kept.length === before.length);
    }
  });
  it("say what is ours once, whatever a route says", () => {
    const planned = ["x-envoy-attempt-count", "7", "x-envoy-expected-rq-timeout-ms", "9", "a", "1"];
    assert.deepEqual(of(planned, NOTHING, { attempt: 2, expectedMs: 0.2 }), ["a", "1", "x-envoy-attempt-count", "2", "x-envoy-expected-rq-timeout-ms", "1"]);
    assert.deepEqual(of(planned), ["x-envoy-expected-rq-timeout-ms", "9", "a", "1", "x-envoy-attempt-count", "1"]);
  });
  it("have no upgrade of their own", () => {
    const seen = seenFields(["x-request-id", "1", "x-forwarded-proto", "http", "connection", "Upgrade", "upgrade", "websocket"], "websocket", false, id);
    assert.deepEqual(of(seen.fields, seen), ["x-request-id", "1", "x-forwarded-proto", "http", "x-envoy-attempt-count", "1"]);
  });
  it("are judged where they are not as the codec gave them", () => {
    const seen = seenFields(["a", "1", "content-length", "0", "b", "2"], undefined, false, id);
    assert.deepEqual(of(["a", "1", "b", "2", "c", "3"], seen)?.slice(0, 6), ["a", "1", "b", "2", "c", "3"]);
    for (const bad of [["a", "1\n", "b", "2"], ["a", "1", "b", "2", "c", "\0"], ["B", "2"]]) assert.equal(of(bad, seen), undefined);
    const crumbs = seenFields(["cookie", "a", "cookie", ""], undefined, true, id);
    assert.equal(of(crumbs.fields, crumbs), undefined);
  });
  for (const bad of [["a", "x\r\nb: c"], ["a", "x\0"], ["a b", "x"], ["", "x"], ["A", "x"], ["a", "\u{1F600}"]]) it(`are refused as a whole with ${JSON.stringify(bad)}`, () => assert.equal(of(bad), undefined));
});

describe("the fields of an answer", () => {
  const plan = forwardPlan(badRequest(connectionFacts, new EventTime(systemClock)).facts);
  const answered = (fields: string[], more: Partial<ForwardPlan> = {}, o: { serviceMs?: number; serverName?: string; more?: string[] } = {}): string[] => {
    answerFields(fields, marksOf(fields), { ...plan, ...more }, o.serviceMs, o.more ?? [], o.serverName, { now: 0 });
    return fields;
  };
  const DATE = ["date", "Thu, 01 Jan 1970 00:00:00 GMT"];
  const o = { serviceMs: 3.4, serverName: "istio-envoy", more: ["set-cookie", "s=1"] };
  it("get what is ours, lose what is for one hop", () => {
    assert.deepEqual(answered(["server", "nginx", "connection", "close, x-a", "x-a", "1", "content-length", "3", "b", "2", "date", "D"], {}, o),
      ["server", "istio-envoy", "b", "2", "date", "D", "set-cookie", "s=1", "x-envoy-upstream-service-time", "3"]);
    assert.deepEqual(answered([]), DATE);
    assert.deepEqual(answered(["date", "D", "connection", "Date"]), DATE);
    assert.deepEqual(answered(["x-envoy-upstream-service-time", "9", "a", "1", "x-envoy-upstream-service-time", "8"], {}, { serviceMs: 1 }), ["x-envoy-upstream-service-time", "1", "a", "1", ...DATE]);
  });
  it("change as the route says, and what cannot be sent goes", () =>
    assert.deepEqual(answered(["date", "D", "server", "x"], { answer: [{ remove: ["date"], set: [["a", "1"]], add: [["b", "x\r\n"]] }] }, { serverName: "us" }), ["server", "us", "a", "1", ...DATE]));
  it("of our own likewise", () => {
    const reply = ["a", "1", "b", "\0", "content-length", "3", "connection", "close"];
    assert.deepEqual(replyFields(reply, undefined, "us", { now: 0 }), ["a", "1", "server", "us", ...DATE]);
    assert.deepEqual(replyFields(reply, { ...plan, answer: [{ remove: ["a"], set: [], add: [] }] }, undefined, { now: 0 }), DATE);
    assert.equal(reply.length, 8);
  });
  it("change as routes say: remove, set, add", () => {
    const fields = ["a", "1", "b", "1", "A", "x", "a", "2", "c", "1"];
    applyChange(fields, { remove: ["c"], set: [["a", "9"], ["d", "1"]], add: [["b", "2"]] });
    assert.deepEqual(fields, ["a", "9", "b", "1", "A", "x", "d", "1", "b", "2"]);
  });
});

describe("answers to failures", () => {
  const cases: [AttemptFailure, number, string, number][] = [
    [{ kind: "connect", why: "refused", timeout: false }, 503, "UF", 14], [{ kind: "connect", why: "", timeout: true }, 503, "UF", 14],
    [{ kind: "overflow", limit: "requests" }, 503, "UO", 14], [{ kind: "reset", by: "remote", refused: false, why: "" }, 503, "UR", 14],
    [{ kind: "reset", by: "connection", refused: false, why: "" }, 503, "UC", 14], [{ kind: "reset", by: "protocol", refused: false, why: "" }, 502, "UPE", 14],
    [{ kind: "timeout" }, 504, "UT", 14], [{ kind: "abandoned" }, 504, "UT", 14],
  ];
  for (const [failure, status, flag, grpc] of cases)
    it(`${JSON.stringify(failure)} → ${status} ${flag}, grpc ${grpc}`, () => {
      const local = failureReply(failure, false);
      assert.deepEqual([local.status, local.flag, renderReply(local, true).grpcStatus], [status, flag, grpc]);
    });
  it("a client's own deadline is DEADLINE_EXCEEDED", () => assert.equal(renderReply(failureReply({ kind: "abandoned" }, true), true).grpcStatus, 4));

  for (const [status, grpc] of [[400, 13], [401, 16], [403, 7], [404, 12], [429, 14], [502, 14], [503, 14], [504, 14], [500, 2], [418, 2]] as const)
    it(`gRPC sees ${status} as ${grpc}`, () => assert.deepEqual(renderReply(reply(status, "no, 50% ü", "-", ""), true),
      { status: 200, fields: ["content-type", "application/grpc", "grpc-status", String(grpc), "grpc-message", "no, 50%25 %C3%BC"], body: "", grpcStatus: grpc }));
  it("others see it as it is", () => assert.deepEqual(renderReply(reply(403, "no", "-", ""), false), { status: 403, fields: ["content-type", "text/plain"], body: "no", grpcStatus: undefined }));
});
