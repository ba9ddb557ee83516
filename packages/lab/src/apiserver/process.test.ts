// Tests the process as it is started in the lab: what was acknowledged survives kill -9, SIGTERM is quick, h2 and the unix socket serve.
import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect as connectHttp2, type ClientHttp2Session } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { connect as connectTls } from "node:tls";
import { CM, configMap, TestClient } from "./test-client.ts";

const MAIN = new URL("./main.ts", import.meta.url).pathname;
const SIGTERM_LIMIT_MS = 1000;

interface Running {
  readonly child: ChildProcess;
  readonly client: TestClient;
}

describe("apiserver: process", () => {
  let dir: string;
  const running: Running[] = [];
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "ambit-process-"));
  });
  afterEach(async () => {
    for (const { child, client } of running.splice(0)) {
      client.close();
      if (child.exitCode !== null || child.signalCode !== null) continue;
      child.kill("SIGKILL");
      await once(child, "exit");
    }
    rmSync(dir, { recursive: true, force: true });
  });

  async function start(...flags: string[]): Promise<Running & { url: string }> {
    const args = [MAIN, "--data", join(dir, "data"), "--pki", join(dir, "pki"), "--listen", "127.0.0.1:0", ...flags];
    const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
    let port = 0;
    for await (const line of createInterface({ input: child.stdout })) {
      const record = JSON.parse(line) as { msg: string; port?: number; path?: string };
      if (record.port !== undefined) port = record.port;
      if (record.msg === "ready") break;
    }
    const url = `https://127.0.0.1:${port}`;
    const client = new TestClient(url, join(dir, "pki", "admin.kubeconfig"));
    running.push({ child, client });
    return { child, client, url };
  }

  it("loses nothing acknowledged when it is killed", async () => {
    const first = await start();
    const acknowledged: string[] = [];
    let next = 0;
    const writers = Array.from({ length: 8 }, async () => {
      for (;;) {
        const name = `cm-${next++}`;
        const answer = await first.client.ask("POST", CM, configMap(name)).catch(() => null);
        if (answer === null) return;
        assert.equal(answer.code, 201);
        acknowledged.push(name);
        if (acknowledged.length === 200) first.child.kill("SIGKILL");
      }
    });
    await Promise.all(writers);
    const second = await start();
    const { body } = await second.client.ask("GET", CM);
    const found = new Set((body["items"] as { metadata: { name: string } }[]).map((item) => item.metadata.name));
    assert.deepEqual(acknowledged.filter((name) => !found.has(name)), []);
  });

  it("ends within a second of SIGTERM, with a watch open", async () => {
    const { child, client } = await start();
    const watch = await client.watch(`${CM}?watch=1`);
    const begun = performance.now();
    child.kill("SIGTERM");
    const [code] = (await once(child, "exit")) as [number];
    assert.equal(code, 0);
    assert.ok(performance.now() - begun < SIGTERM_LIMIT_MS);
    watch.close();
  });

  it("serves h2 by ALPN, on TCP and on the unix socket", async () => {
    const unix = join(dir, "api.sock");
    const { url } = await start("--unix", unix);
    const config = JSON.parse(readFileSync(join(dir, "pki", "admin.kubeconfig"), "utf8")) as {
      clusters: { cluster: Record<string, string> }[];
      users: { user: Record<string, string> }[];
    };
    const part = (text: string | undefined) => Buffer.from(text ?? "", "base64");
    const user = config.users[0]?.user;
    const tls = {
      ca: part(config.clusters[0]?.cluster["certificate-authority-data"]),
      cert: part(user?.["client-certificate-data"]),
      key: part(user?.["client-key-data"]),
    };
    const viaUnix = connectTls({ ...tls, path: unix, servername: "localhost", ALPNProtocols: ["h2"] });
    for (const session of [connectHttp2(url, tls), connectHttp2("https://localhost", { createConnection: () => viaUnix })]) {
      assert.equal(await getStatus(session, CM), 200);
      session.close();
      await once(session, "close");
    }
  });

  for (const [what, flags, text] of [
    ["a bad address", ["--listen", "nowhere"], /--listen "nowhere": must be HOST:PORT/],
    ["a bad CIDR", ["--service-cidr", "10.0.0.0/99"], /service CIDR "10\.0\.0\.0\/99"/],
    ["an unknown flag", ["--colour"], /colour/],
  ] as const) {
    it(`refuses ${what} in one line`, async () => {
      const args = [MAIN, "--data", join(dir, "data"), "--pki", join(dir, "pki"), "--listen", "127.0.0.1:0", ...flags];
      const child = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "pipe"] });
      let errors = "";
      child.stderr.on("data", (chunk) => (errors += String(chunk)));
      const [code] = (await once(child, "close")) as [number];
      assert.equal(code, 1);
      assert.match(errors, text);
      assert.equal(errors.trim().split("\n").length, 1);
    });
  }
});

async function getStatus(session: ClientHttp2Session, path: string): Promise<unknown> {
  const stream = session.request({ ":path": path });
  const [headers] = (await once(stream, "response")) as [Record<string, unknown>];
  stream.resume();
  await once(stream, "close");
  return headers[":status"];
}
