// Owns Envoy's configuration for the bench: what our waypoint does, as far as Envoy's own parts can be made to.
import { AT } from "./messages.ts";

type Json = Readonly<Record<string, unknown>>;

export interface EnvoySetup { readonly h1: number; readonly grpc: number; readonly hbone: number; readonly admin: number; readonly backend: { readonly h1: number; readonly grpc: number }; readonly folder: string }

const type = (name: string, fields: Json = {}): Json => ({ "@type": `type.googleapis.com/envoy.${name}`, ...fields });
const socket = (address: string, port: number): Json => ({ socket_address: { address, port_value: port } });
const H2_OUT = (connect: boolean): Json => ({ "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": type("extensions.upstreams.http.v3.HttpProtocolOptions", { explicit_http_config: { http2_protocol_options: connect ? { allow_connect: true } : {} } }) });
const UNBOUNDED = 1_000_000;

const cluster = (name: string, address: Json, more: Json = {}): Json => ({
  name, type: "STATIC", connect_timeout: "5s", lb_policy: "LEAST_REQUEST", load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints: [{ endpoint: { address } }] }] },
  circuit_breakers: { thresholds: [{ max_connections: UNBOUNDED, max_pending_requests: UNBOUNDED, max_requests: UNBOUNDED, max_retries: UNBOUNDED }] }, ...more,
});

const policy = (i: number, last: boolean, plain: boolean): Json => ({
  permissions: [{ and_rules: { rules: [
    { or_rules: { rules: ["GET", "POST"].map((method) => ({ header: { name: ":method", string_match: { exact: method } } })) } },
    { or_rules: { rules: [{ url_path: { path: { prefix: last ? "/" : `/api/v${i}/` } } }, { url_path: { path: { exact: `/health${i}` } } }] } },
  ] } }],
  principals: [{ and_ids: { ids: [
    { or_ids: { ids: [{ header: { name: "x-user", string_match: { exact: `u${i}` } } }, { header: { name: "x-user", string_match: { prefix: `team${i}-` } } }] } },
    // Behind an internal listener there is no address to compare with: less than what we do.
    { or_ids: { ids: [{ direct_remote_ip: { address_prefix: "10.0.0.0", prefix_len: 8 } }, plain ? { direct_remote_ip: { address_prefix: "127.0.0.0", prefix_len: 8 } } : { any: true }] } },
  ] } }],
});
const rbac = (plain: boolean): Json => ({ name: "envoy.filters.http.rbac", typed_config: type("extensions.filters.http.rbac.v3.RBAC", { rules: { action: "ALLOW", policies: Object.fromEntries([0, 1, 2, 3, 4].map((i) => [`p${i}`, policy(i, i === 4, plain)])) } }) });
const ROUTER: Json = { name: "envoy.filters.http.router", typed_config: type("extensions.filters.http.router.v3.Router") };
const RETRY: Json = { retry_on: "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes", retriable_status_codes: [503], num_retries: 2 };
const routesTo = (name: string): Json[] => Array.from({ length: 10 }, (_, i) => ({
  name: `r${i}`, match: { prefix: "/", ...(i === 9 ? {} : { headers: [{ name: "x-route", string_match: { exact: `v${i}` } }] }) }, route: { cluster: name, timeout: "0s", retry_policy: RETRY },
}));
/** Istio's line. */
const LINE = '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "%UPSTREAM_TRANSPORT_FAILURE_REASON%" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER% %UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%\n';
const LOG: Json = { name: "envoy.access_loggers.file", typed_config: type("extensions.access_loggers.file.v3.FileAccessLog", { path: "/dev/null", log_format: { text_format_source: { inline_string: LINE } } }) };

const HCM = (name: string, codec: string, routes: readonly Json[], more: Json): Json => ({ name: "envoy.filters.network.http_connection_manager", typed_config: type("extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", {
  stat_prefix: name, codec_type: codec, route_config: { name: "local", virtual_hosts: [{ name: "all", domains: ["*"], routes }] }, ...more,
}) });
const chain = (name: string, codec: string, to: string): Json => HCM(name, codec, routesTo(to), { http_filters: [rbac(name !== "main"), ROUTER], access_log: [LOG] });

const internal = (name: string): Json => ({ envoy_internal_address: { server_listener_name: name, endpoint_id: name } });
const INSIDE: Json = { name: "envoy.transport_sockets.internal_upstream", typed_config: type("extensions.transport_sockets.internal_upstream.v3.InternalUpstreamTransport", {
  transport_socket: { name: "envoy.transport_sockets.raw_buffer", typed_config: type("extensions.transport_sockets.raw_buffer.v3.RawBuffer") },
}) };

function tls(folder: string, context: "Downstream" | "Upstream"): Json {
  return { name: "envoy.transport_sockets.tls", typed_config: type(`extensions.transport_sockets.tls.v3.${context}TlsContext`, {
    ...(context === "Downstream" ? { require_client_certificate: true } : {}),
    common_tls_context: {
      ...(context === "Downstream" ? { alpn_protocols: ["h2"] } : {}), tls_params: { tls_minimum_protocol_version: "TLSv1_3", tls_maximum_protocol_version: "TLSv1_3" },
      tls_certificates: [{ certificate_chain: { filename: `${folder}/chain.pem` }, private_key: { filename: `${folder}/key.pem` } }], validation_context: { trusted_ca: { filename: `${folder}/roots.pem` } },
    },
  }) };
}

/** As Istio builds a waypoint: CONNECT ends, the request passes its chain, and a tunnel to the endpoint begins, each in a listener of its own. */
export function envoyConfig(o: EnvoySetup): string {
  const listen = (name: string, port: number, filter: Json, more: Json = {}): Json => ({ name, address: socket("127.0.0.1", port), filter_chains: [{ filters: [filter], ...more }] });
  const connect: Json = HCM("hbone", "HTTP2", [{ match: { connect_matcher: {} }, route: { cluster: "main", timeout: "0s", upgrade_configs: [{ upgrade_type: "CONNECT", connect_config: {} }] } }],
    { http_filters: [ROUTER], http2_protocol_options: { allow_connect: true }, upgrade_configs: [{ upgrade_type: "CONNECT" }] });
  const originate: Json = { name: "tcp", typed_config: type("extensions.filters.network.tcp_proxy.v3.TcpProxy", { stat_prefix: "originate", cluster: "tunnel", tunneling_config: { hostname: `${AT.tunnel}:${AT.port}` } }) };
  return JSON.stringify({
    admin: { address: socket("127.0.0.1", o.admin) },
    bootstrap_extensions: [{ name: "envoy.bootstrap.internal_listener", typed_config: type("extensions.bootstrap.internal_listener.v3.InternalListener") }],
    overload_manager: { resource_monitors: [{ name: "envoy.resource_monitors.global_downstream_max_connections", typed_config: type("extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig", { max_active_downstream_connections: 50_000 }) }] },
    static_resources: {
      listeners: [
        listen("h1", o.h1, chain("h1", "AUTO", "h1")), listen("grpc", o.grpc, chain("grpc", "HTTP2", "grpc")),
        listen("hbone", o.hbone, connect, { transport_socket: tls(o.folder, "Downstream") }),
        { name: "main", internal_listener: {}, filter_chains: [{ filters: [chain("main", "AUTO", "originate")] }] },
        { name: "originate", internal_listener: {}, filter_chains: [{ filters: [originate] }] },
      ],
      clusters: [
        cluster("h1", socket(AT.plain, o.backend.h1)), cluster("grpc", socket(AT.plain, o.backend.grpc), { typed_extension_protocol_options: H2_OUT(false) }),
        cluster("main", internal("main"), { transport_socket: INSIDE }), cluster("originate", internal("originate"), { transport_socket: INSIDE }),
        cluster("tunnel", socket(AT.tunnel, AT.tunnelPort), { typed_extension_protocol_options: H2_OUT(true), transport_socket: tls(o.folder, "Upstream") }),
      ],
    },
  });
}
