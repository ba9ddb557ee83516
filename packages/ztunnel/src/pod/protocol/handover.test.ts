import assert from "node:assert/strict";
import fc from "fast-check";
import { at } from "@ambit/proxy/testing";
import { decodeAnswer, decodeAsk, encodeAnswer, encodeAsk } from "./handover.ts";

describe("hand-over: the words", () => {
  it("come back as they went", () => {
    const ask = { uid: "u", netnsInode: 4026532001n, from: 8 };
    assert.deepEqual(decodeAsk(encodeAsk(ask).trimEnd()), { ok: true, value: ask });
    const answer = { sockets: [at("[::]:15001"), at("127.0.0.1:15053")], more: true };
    assert.deepEqual(decodeAnswer(encodeAnswer(answer).trimEnd(), 2), { ok: true, value: answer });
    assert.deepEqual(decodeAnswer(encodeAnswer({ sockets: [], more: false }).trimEnd(), 0), { ok: true, value: { sockets: [], more: false } });
  });
  const asks: [string, string, RegExp][] = [
    ["another version", '{"version":2,"uid":"u","netns":"1","from":0}', /version 2 instead of 1/],
    ["no version", "{}", /version undefined/],
    ["no uid", '{"version":1,"netns":"1","from":0}', /no uid/],
    ["a namespace that is no number", '{"version":1,"uid":"u","netns":"-1","from":0}', /no network namespace/],
    ["a place far out", '{"version":1,"uid":"u","netns":"1","from":99999}', /"from"/],
    ["a list", "[]", /not an object/],
    ["noise", "\u0000\u0001", /not a line of JSON/],
  ];
  for (const [name, line, error] of asks) it(`a question with ${name} is refused`, () => {
    const decoded = decodeAsk(line);
    assert.match(decoded.ok ? "" : decoded.error, error);
  });
  const answers: [string, string, number, RegExp][] = [
    ["fewer descriptors than sockets", '{"version":1,"sockets":["[::]:1"],"more":false}', 0, /1 sockets are named, 0 descriptors came/],
    ["more descriptors than sockets", '{"version":1,"sockets":[],"more":false}', 1, /0 sockets are named, 1 descriptors came/],
    ["more to come of nothing", '{"version":1,"sockets":[],"more":true}', 0, /nothing came/],
    ["no address", '{"version":1,"sockets":[7],"more":false}', 1, /not an address/],
    ["another version", '{"version":9}', 0, /version 9/],
  ];
  for (const [name, line, descriptors, error] of answers) it(`an answer with ${name} is refused`, () => {
    const decoded = decodeAnswer(line, descriptors);
    assert.match(decoded.ok ? "" : decoded.error, error);
  });
  it("noise never throws", () => fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), fc.nat(9), (line, n) => { decodeAsk(line); decodeAnswer(line, n); })));
});
