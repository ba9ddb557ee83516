import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { rootCertificates } from "node:tls";
import fc from "fast-check";
import { KubeconfigError, loadClientConfig, parseKubeconfig } from "./config.ts";

const kubeconfig = (more: { cluster?: object; user?: object; context?: object; top?: object } = {}): string => JSON.stringify({
  apiVersion: "v1", kind: "Config", "current-context": "x",
  clusters: [{ name: "c", cluster: { server: "https://10.0.0.1:6443", ...more.cluster } }], users: [{ name: "u", user: { token: "t", ...more.user } }],
  contexts: [{ name: "x", context: { cluster: "c", user: "u", ...more.context } }], ...more.top,
});

/** Any certificate will do. */
const [CA = ""] = rootCertificates;
const base64 = (text: string): string => Buffer.from(text).toString("base64");

describe("kubeconfigs", () => {
  it("gives server, credentials and namespace of the current context", async () => {
    const config = parseKubeconfig(kubeconfig({ cluster: { "certificate-authority-data": base64(CA) }, context: { namespace: "shop" } }), "f");
    assert.equal(config.server, "https://10.0.0.1:6443");
    assert.equal(config.ca, CA);
    assert.equal(config.namespace, "shop");
    assert.equal(await config.token?.(), "t");
  });
  for (const [what, text, says] of [
    ["not YAML", "a: [", "not YAML"], ["a list", "[]", "not a kubeconfig"], ["nothing", "", "not YAML"],
    ["no current context", kubeconfig({ top: { "current-context": "" } }), "current-context is not set"], ["an unknown context", kubeconfig({ top: { "current-context": "y" } }), 'contexts has no "y"'],
    ["an unknown cluster", kubeconfig({ context: { cluster: "z" } }), 'clusters has no "z"'], ["no server", kubeconfig({ cluster: { server: undefined } }), "has no server"],
    ["a server that is no URL", kubeconfig({ cluster: { server: "::" } }), "is not a URL"], ["an odd scheme", kubeconfig({ cluster: { server: "ftp://x" } }), "neither https nor http"],
    ["a missing file", kubeconfig({ user: { "client-certificate": "/no/such/file" } }), 'client-certificate "/no/such/file" cannot be read'],
    ["an unknown user", kubeconfig({ context: { user: "z" } }), 'users has no "z"'], ["a CA that is none", kubeconfig({ cluster: { "certificate-authority-data": "!!!" } }), "certificate-authority-data is not a certificate in PEM"],
    ["a key that is none", kubeconfig({ user: { "client-certificate-data": base64(CA), "client-key-data": base64("key") } }), "client-key-data is not a private key in PEM"],
    ["half a pair", kubeconfig({ user: { "client-certificate-data": base64(CA) } }), 'user "u" has client-certificate without client-key'],
  ] as const) it(`${what}: says so, naming the file`, () => {
    assert.throws(() => parseKubeconfig(text, "some.yaml"), (e) => e instanceof KubeconfigError && e.message.startsWith("some.yaml: ") && e.message.includes(says));
  });
  it("no text crashes it otherwise", () => fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (s) => {
    try { parseKubeconfig(s, "f"); } catch (e) { assert.ok(e instanceof KubeconfigError, String(e)); }
  })));
  it("an exec plugin gives the token, and it is kept until it expires", async () => {
    const dir = mkdtempSync(join(tmpdir(), "ak-"));
    try {
      const plugin = join(dir, "plugin.sh");
      writeFileSync(plugin, `#!/bin/sh\necho x >> ${dir}/calls\necho '{"status":{"token":"from-plugin","expirationTimestamp":"2999-01-01T00:00:00Z"}}'\n`, { mode: 0o755 });
      const { token } = parseKubeconfig(kubeconfig({ user: { token: undefined, exec: { apiVersion: "client.authentication.k8s.io/v1", command: plugin } } }), "f");
      assert.equal(await token?.(), "from-plugin");
      assert.equal(await token?.(), "from-plugin");
      const { readFileSync } = await import("node:fs");
      assert.equal(readFileSync(join(dir, "calls"), "utf8"), "x\n");
    } finally {
      rmSync(dir, { recursive: true });
    }
  });
  it("a plugin that fails is named", async () => {
    const { token } = parseKubeconfig(kubeconfig({ user: { token: undefined, exec: { command: "/bin/false" } } }), "f");
    await assert.rejects(async () => token?.(), (e) => e instanceof KubeconfigError && e.message.startsWith('f: exec plugin "/bin/false" failed'));
  });
  it("without any cluster it says what to do", () => {
    const home = process.env["HOME"];
    process.env["HOME"] = "/nonexistent";
    try {
      assert.throws(() => loadClientConfig({ env: {} }), /no cluster to talk to: .*ambit lab up/);
    } finally {
      if (home === undefined) delete process.env["HOME"]; else process.env["HOME"] = home;
    }
  });
});
