// Owns the webhook endpoint: HTTPS on 15017, `/validate`, the serving certificate of the control plane.
import { json, serveHttp, text, type BoundServer, type Logger, type Metrics, type ServerCertificate } from "@ambit/runtime";
import type { Settings } from "../collections/settings.ts";
import { answerReview } from "./review.ts";

/** A review holds an object and what it was before; the API server stores objects of at most 1.5 MiB. */
const BODY_MAX_BYTES = 7 * 1024 * 1024;

export function serveAdmission(o: { host: string; port: number; tls: ServerCertificate; settings: () => Settings; metrics: Metrics; log: Logger }): Promise<BoundServer> {
  const passed = o.metrics.counter("galley_validation_passed", "Objects that admission let pass, by kind.");
  const failed = o.metrics.counter("galley_validation_failed", "Objects that admission refused, by kind and reason.");
  return serveHttp(o.host, o.port, {
    "POST /validate": (_query, body) => {
      const answered = answerReview(body, o.settings());
      if (!answered.ok) {
        failed.with({ kind: "", reason: "not_a_review" }).inc();
        return text(`${answered.error}\n`, 400);
      }
      const { answer, kind } = answered;
      if (answer.allowed) passed.with({ kind }).inc();
      else {
        failed.with({ kind, reason: "invalid_resource" }).inc();
        o.log.info("object refused", { error: answer.status?.message });
      }
      return json({ apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview", response: answer });
    },
    "GET /healthz": () => text("ok\n"),
  }, { tls: o.tls, bodyMaxBytes: BODY_MAX_BYTES });
}
