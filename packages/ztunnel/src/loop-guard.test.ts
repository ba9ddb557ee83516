import { join } from "node:path";
import { hangingLoopCompliance } from "@ambit/testkit";

const NOWHERE = { INPOD_UDS: "no.sock", XDS_ADDRESS: "http://127.0.0.1:1", AMBIT_ADMIN_PORT: "0", AMBIT_STATS_PORT: "0", AMBIT_READINESS_PORT: "0" };

hangingLoopCompliance("ztunnel", join(import.meta.dirname, "main.ts"), NOWHERE, [
  { what: "the only thread", hangs: "main", thread: /^main$/ },
  { what: "a traffic thread", hangs: "traffic", thread: /^traffic-[01]$/, env: { ZTUNNEL_WORKER_THREADS: "2" } },
]);
