import assert from "node:assert/strict";
import { describeOutcome, negotiate, readTarget, ResizeReader } from "./request.ts";

describe("streaming requests", () => {
  const table: [string, unknown][] = [
    ["/exec/ns/p/c?command=sh&command=-c&input=1&output=1&error=1",
      { kind: "exec", namespace: "ns", pod: "p", container: "c", command: ["sh", "-c"], stdin: true, stdout: true, stderr: true, tty: false }],
    ["/exec/ns/p/c?command=sh&input=1&output=1&error=1&tty=1",
      { kind: "exec", namespace: "ns", pod: "p", container: "c", command: ["sh"], stdin: true, stdout: true, stderr: false, tty: true }],
    ["/portForward/ns/p?port=80&port=81,82", { kind: "portforward", namespace: "ns", pod: "p", ports: [80, 81, 82] }],
    ["/exec/ns/p/c?output=1", { status: 400, problem: "you must specify at least 1 command" }],
    ["/exec/ns/p/c?command=x", { status: 400, problem: "you must specify at least 1 of stdin, stdout, stderr" }],
    ["/portForward/ns/p?port=0", { status: 400, problem: "port must be up to 64 numbers from 1 to 65535" }],
    ["/exec/ns/p", { status: 404, problem: "404 page not found" }],
    ["/exec/%zz/p/c", { status: 400, problem: "/exec/%zz/p/c is not a valid path" }],
    ["/", { status: 404, problem: "404 page not found" }],
  ];
  for (const [url, expected] of table) it(url, () => assert.deepEqual(readTarget(url), expected));

  it("agrees on the client's first protocol that both speak", () => {
    assert.equal(negotiate("v9, v4 , v3", ["v3", "v4"], undefined), "v4");
    assert.equal(negotiate(["v9", "v3"], ["v3", "v4"], undefined), "v3");
    assert.equal(negotiate(undefined, ["v3"], "v3"), "v3");
    assert.equal(negotiate("v9", ["v3"], "v3"), undefined);
  });

  it("reads sizes as they trickle in, and drops nonsense", () => {
    const reader = new ResizeReader();
    assert.deepEqual(reader.read('{"Width":80,"Hei'), []);
    assert.deepEqual(reader.read('ght":24}\n{"Width":-1,"Height":2}{bad}{"Width":100,"Height":50}'), [{ columns: 80, rows: 24 }, { columns: 100, rows: 50 }]);
    assert.deepEqual(reader.read("x".repeat(10_000)), []);
  });

  it("tells the outcome as the negotiated version has it", () => {
    assert.equal(describeOutcome({ exitCode: 0 }, false), "");
    assert.deepEqual(JSON.parse(describeOutcome({ exitCode: 0 }, true)), { metadata: {}, status: "Success" });
    const failed = JSON.parse(describeOutcome({ exitCode: 3 }, true)) as { reason: string; details: { causes: unknown[] } };
    assert.deepEqual([failed.reason, failed.details.causes], ["NonZeroExitCode", [{ reason: "ExitCode", message: "3" }]]);
    assert.match(describeOutcome({ problem: "no such thing" }, false), /no such thing/);
  });
});
