// Owns `npm test`: the checks, then every test, then one closing line that counts both.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { check } from "./check.ts";

const ROOT = join(import.meta.dirname, "..");

// test/soak takes minutes and has its own verb.
const SPECS = ["packages/*/src/**/*.test.ts", "test/{contract,e2e,tidy,sim,fuzz,conformance,netns}/**/*.test.ts"];

/** A run takes a quarter of an hour; one that something keeps from ending must not hold a machine for ever. */
const RUN_LIMIT_MS = 45 * 60_000;

const checks = check();
const failedChecks = checks.filter((c) => !c.ok).length;

const scratch = mkdtempSync(join(tmpdir(), "ambit-test-"));
const report = join(scratch, "report.json");
const mocha = spawnSync(process.execPath, [join(ROOT, "node_modules/mocha/bin/mocha.js"), "--reporter", join(ROOT, "scripts/reporter.mjs"), "--reporter-option", `output=${report}`, ...(process.argv.length > 2 ? process.argv.slice(2) : SPECS)], { cwd: ROOT, stdio: "inherit", timeout: RUN_LIMIT_MS, killSignal: "SIGKILL" });

interface Report { passes: number; failures: number }
let counted: Report | undefined;
try {
  counted = JSON.parse(readFileSync(report, "utf8")) as Report;
} catch {
  process.stdout.write("the test run ended before it could report\n");
}
rmSync(scratch, { recursive: true, force: true });

// A run that dies, or exits non-zero for another reason than a failed test (a leak that keeps it from ending), has failed too.
const failedRun = counted === undefined || (mocha.status !== 0 && counted.failures === 0) ? 1 : 0;
const passed = checks.length - failedChecks + (counted?.passes ?? 0);
const failed = failedChecks + (counted?.failures ?? 0) + failedRun;
process.stdout.write(`\n${passed} passed, ${failed} failed\n`);
process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
