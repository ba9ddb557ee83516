import { join } from "node:path";
import { hangingLoopCompliance } from "@ambit/testkit";

const NOWHERE = { GATEWAY_NAME: "w", XDS_ADDRESS: "http://127.0.0.1:1", AMBIT_TUNNEL_PORT: "0", AMBIT_ADMIN_PORT: "0", AMBIT_STATS_PORT: "0", AMBIT_READINESS_PORT: "0" };

hangingLoopCompliance("waypoint", join(import.meta.dirname, "main.ts"), NOWHERE, [{ what: "its only thread", hangs: "main", thread: /^main$/ }]);
