// Owns the mesh of a Kubernetes under test: installed, upgraded and removed, as a person does it.
import assert from "node:assert/strict";
import { ambitLater } from "../e2e/cli.fixture.ts";
import type { TestKube } from "../e2e/kube.fixture.ts";

async function ambit(kube: TestKube, ...args: string[]): Promise<string> {
  const done = await ambitLater([...args, ...kube.cliOptions]);
  assert.equal(done.code, 0, done.out + done.err);
  return done.out;
}

/** Images are on the nodes under this tag. */
export const install = (kube: TestKube, tag: string): Promise<string> => ambit(kube, "install", "--set-string", `global.tag=${tag}`);
export const upgrade = (kube: TestKube, tag: string): Promise<string> => ambit(kube, "upgrade", "--set-string", `global.tag=${tag}`);

export const uninstall = (kube: TestKube): Promise<string> => ambit(kube, "uninstall", "--purge");
