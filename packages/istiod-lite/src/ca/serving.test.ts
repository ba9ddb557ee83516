import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { createLogger, LogLevels, systemClock, type Clock } from "@ambit/runtime";
import { createSelfSigned, type Authority } from "./authority.ts";
import { createServingCertificate, servingNames, SERVING_TTL_MS } from "./serving.ts";

const log = createLogger("t", { levels: new LogLevels("error"), write: () => undefined });
const DAY_MS = 86_400_000;

describe("serving certificate", () => {
  let timers: { ms: number; task: () => void; cancelled: boolean }[];
  let clock: Clock;
  const live = () => timers.filter((t) => !t.cancelled);
  beforeEach(() => {
    timers = [];
    clock = { ...systemClock, after: (ms, task) => {
      const timer = { ms, task, cancelled: false };
      timers.push(timer);
      return { cancel: () => void (timer.cancelled = true) };
    } };
  });

  it("carries Istio's names and lives a day", async () => {
    const authority = await createSelfSigned("cluster.local", Date.now());
    const serving = await createServingCertificate({ authority: () => authority, dnsNames: servingNames("istio-system", "canary"), clock, log });
    const cert = new X509Certificate(serving.current().certPem);
    assert.equal(cert.subjectAltName, ["istiod", "istiod-remote", "istio-pilot", "istiod-canary", "istiod-remote-canary", "istio-pilot-canary"].map((n) => `DNS:${n}.istio-system.svc`).join(", "));
    assert.ok(Math.abs(cert.validToDate.getTime() - Date.now() - SERVING_TTL_MS) < 5_000);
    serving.close();
    assert.deepEqual(live(), []);
  });

  it("is renewed at half its life, which the authority's end may shorten", async () => {
    const authority = await createSelfSigned("cluster.local", Date.now() - 3650 * DAY_MS + 3_600_000);
    const serving = await createServingCertificate({ authority: () => authority, dnsNames: ["a.svc"], clock, log });
    const [first] = live();
    assert.ok(Math.abs((first?.ms ?? 0) - 1_800_000) < 5_000, String(first?.ms));
    const before = serving.current().certPem;
    const renewed = new Promise<string>((resolve) => serving.onRotate((next) => resolve(next.certPem)));
    first?.task();
    assert.notEqual(await renewed, before);
    serving.close();
  });

  it("keeps the present one and tries again in a minute when the authority fails", async () => {
    const good = await createSelfSigned("cluster.local", Date.now());
    let authority: Authority = good;
    const serving = await createServingCertificate({ authority: () => authority, dnsNames: ["a.svc"], clock, log });
    const before = serving.current();
    authority = { ...good, issue: () => Promise.reject(new Error("key is gone")) };
    await assert.rejects(serving.renew(), /key is gone/);
    assert.equal(serving.current(), before);
    assert.deepEqual(live().map((t) => t.ms), [60_000]);
    authority = good;
    await serving.renew();
    assert.notEqual(serving.current(), before);
    serving.close();
  });
});
