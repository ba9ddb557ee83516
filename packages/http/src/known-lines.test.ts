import assert from "node:assert/strict";
import { knownLine, rememberLine } from "./known-lines.ts";
import { Output } from "./output.ts";

const octetsOf = (text: string): Uint8Array => Uint8Array.from(text, (c) => c.charCodeAt(0));
const learn = (name: string, value: string, line: string): void => { for (let i = 0; i < 8; i++) rememberLine(name, value, octetsOf(`..${line}`), 2, line.length + 2); };

describe("known lines", () => {
  it("are the octets that were written, for that name and value only", () => {
    learn("content-type", "text/plain", "content-type: text/plain\r\n");
    assert.deepEqual(knownLine("content-type", "text/plain"), octetsOf("content-type: text/plain\r\n"));
    assert.equal(knownLine("content-type", "text/plaim"), undefined);
    assert.equal(knownLine("content-typo", "text/plain"), undefined);
  });
  it("are none of secrets, of what differs every time, and of what is long", () => {
    for (const [name, value] of [["authorization", "Bearer x"], ["cookie", "a=b"], ["x-request-id", "1"], ["x-own", "1"], ["accept", "x".repeat(200)]] as const) {
      learn(name, value, `${name}: ${value}\r\n`);
      assert.equal(knownLine(name, value), undefined, name);
    }
  });
  it("leave as they did when they were new", () => {
    const output = new Output();
    const lines = [["accept", "a\r\nb"], ["accept", "é\u0100"], ["server", ""], ["server", "x"]] as const;
    const texts: string[] = [];
    for (let i = 0; i < 40; i++) {
      for (const [name, value] of lines) output.line(name, value);
      texts.push(output.take().map((piece) => String.fromCharCode(...piece)).join(""));
    }
    assert.deepEqual([...new Set(texts)], ["accept: a??b\r\naccept: é?\r\nserver: \r\nserver: x\r\n"]);
  });
});
