// Owns the key of a service: namespace and hostname.
import { serviceKey, type Service, type ServiceKey } from "@ambit/core";

export const keyOf = (s: Pick<Service, "namespace" | "hostname">): ServiceKey => serviceKey(s.namespace, s.hostname);
