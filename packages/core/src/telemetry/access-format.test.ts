import assert from "node:assert/strict";
import { compileFormat, DEFAULT_TEXT, formatProblem, OPERATORS, type LineOutput, type Operators, type Remembered } from "./access-format.ts";

const VALUES: Readonly<Record<string, string | number>> = {
  "REQ :method": "GET", "REQ user-agent": "curl/8", RESPONSE_CODE: 200, BYTES_SENT: 12, RESPONSE_FLAGS: "-", ROUTE_NAME: "shop.reviews.0",
};
const operators: Operators<undefined> = (operator, argument) => ({ variety: operator === "ROUTE_NAME" ? "steady" : "always", read: () => VALUES[argument === undefined ? operator : `${operator} ${argument}`] });
function line(encoding: "text" | "json", format?: string): string {
  const made = compileFormat(encoding, format, operators);
  assert.ok(made.ok, made.ok ? "" : made.error);
  return written((out) => made.value(undefined, undefined, out));
}
function written(write: (out: LineOutput) => void): string {
  let text = "";
  write({ text: (t) => { text += t; }, octets: (o) => { text += new TextDecoder().decode(o); } });
  return text;
}

describe("an access log format", () => {
  const texts: [string, string, string][] = [
    ["literals and operators", "a %RESPONSE_CODE% b", "a 200 b"],
    ["a missing value is a dash", "%REQ(X-NOT-THERE)%", "-"],
    ["headers by name, whatever its case", "%REQ(USER-AGENT)%", "curl/8"],
    ["the second header where the first is missing", "%REQ(X-ENVOY-ORIGINAL-PATH?:METHOD)%", "GET"],
    ["a limit cuts", "%REQ(USER-AGENT):4%", "curl"],
    ["a percent sign", "100%% %RESPONSE_CODE%", "100% 200"],
    ["a final newline is the writer's", "%RESPONSE_CODE%\n", "200"],
  ];
  for (const [name, format, expected] of texts) it(name, () => assert.equal(line("text", format), expected));

  it("has Istio's default text, every operator of which is known", () => {
    assert.match(line("text"), /^\[-\] "GET - -" 200 - - - "-" - 12 - - "-" "curl\/8"/);
    for (const [, name] of DEFAULT_TEXT.matchAll(/%([A-Z_]+)/g)) assert.ok(OPERATORS.has(name ?? ""), name);
  });

  it("has Istio's default JSON: numbers stay numbers, what is missing is null", () => {
    const read = JSON.parse(line("json")) as Record<string, unknown>;
    assert.equal(Object.keys(read).length, 24);
    assert.equal(read["response_code"], 200);
    assert.equal(read["upstream_host"], null);
    assert.equal(read["method"], "GET");
  });

  it("takes fields of one's own", () => assert.equal(line("json", '{"code":"%RESPONSE_CODE%","both":"%REQ(:METHOD)% %RESPONSE_CODE%"}'), '{"code":200,"both":"GET 200"}'));

  it("keeps what is steady for as long as it is said to stand, and what seldom differs until it does", () => {
    const now: Record<string, string | number> = { ROUTE_NAME: "a", PROTOCOL: "h1", RESPONSE_CODE: 200 };
    const made = compileFormat<undefined>("text", "<%RESPONSE_CODE% [%ROUTE_NAME%]%PROTOCOL%-%ROUTE_NAME%> %RESPONSE_CODE%%PROTOCOL%", (operator) => ({ variety: operator === "ROUTE_NAME" ? "steady" : operator === "PROTOCOL" ? "seldom" : "always", read: () => now[operator] }));
    assert.ok(made.ok);
    const parts: Remembered[] = [];
    const lines = [written((out) => made.value(undefined, { of: () => parts }, out))];
    const say = (change: typeof now, memory: Remembered[] = parts): void => {
      Object.assign(now, change);
      lines.push(written((out) => made.value(undefined, { of: () => memory }, out)));
    };
    say({ ROUTE_NAME: "b", RESPONSE_CODE: 404 });
    say({ PROTOCOL: "h2" });
    say({ ROUTE_NAME: "c" });
    say({}, []);
    lines.push(written((out) => made.value(undefined, undefined, out)));
    assert.deepEqual(lines, ["<200 [a]h1-a> 200h1", "<404 [a]h1-a> 404h1", "<404 [b]h2-b> 404h2", "<404 [b]h2-b> 404h2", "<404 [c]h2-c> 404h2", "<404 [c]h2-c> 404h2"]);
  });

  for (const [encoding, format, why] of [
    ["text", "%NOPE%", /%NOPE% is not known/], ["text", "%REQ%", /needs the name of a header/], ["text", "%RESPONSE_CODE", /is not %OPERATOR%/],
    ["text", "%DURATION(X)%", /takes no argument/], ["json", "[]", /not an object/], ["json", "{", /not JSON/], ["json", '{"a":1}', /a: not a text/], ["json", '{"a":"%NOPE%"}', /a: %NOPE%/],
  ] as const)
    it(`refuses ${format}`, () => {
      const made = compileFormat(encoding, format, operators);
      assert.ok(!made.ok);
      assert.match(made.error, why);
      assert.equal(formatProblem(encoding, format), made.error);
    });
});
