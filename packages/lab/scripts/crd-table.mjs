// The custom kinds that the lab installs, and what their sources do not say: names, columns, defaults, list keys, rules.

const AGE = { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" };
const column = (name, jsonPath, description, more = {}) => ({ name, type: "string", jsonPath, description, ...more });
const rule = (text, message, more = {}) => ({ rule: text, message, ...more });
const rules = (...list) => ({ "x-kubernetes-validations": list });
const listMap = (...keys) => ({ "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": keys });
const both = (...overlays) => Object.assign({}, ...overlays);

// --- Istio ---------------------------------------------------------------------------------------------------------

const ONE_ATTACHMENT = rules(
  rule(
    "(has(self.selector) ? 1 : 0) + (has(self.targetRef) ? 1 : 0) + (has(self.targetRefs) ? 1 : 0) <= 1",
    "only one of targetRefs or selector can be set",
  ),
);
const SAME_NAMESPACE = rules(
  rule("!has(self.__namespace__) || size(self.__namespace__) == 0", "cross namespace referencing is not currently supported"),
);
const NO_WILDCARDS = rules(
  rule("self.all(key, !self[key].contains('*'))", "wildcard not allowed in label value match"),
  rule("self.all(key, !key.contains('*'))", "wildcard not allowed in label key match"),
  rule("self.all(key, key.size() != 0)", "key must not be empty"),
);
const PORT_KEYS = rules(
  rule("self.all(key, key.matches('^[0-9]{1,5}$') && int(key) >= 1 && int(key) <= 65535)", "port must be between 1-65535"),
);
const STATUS = { status: { "x-kubernetes-preserve-unknown-fields": true } };
const POSITIVE_DURATION = rules(rule("duration(self) >= duration('1ms')", "must be a valid duration greater than 1ms"));
const ADDRESS = rules(
  rule("has(self.address) || has(self.network)", "Address is required"),
  rule(
    "(has(self.address) && self.address.startsWith('unix://')) ? !has(self.ports) : true",
    "UDS may not include a dial port",
  ),
);

function istio(group, kind, plural, options) {
  const category = `${group.split(".")[0]}-istio-io`;
  return {
    group: `${group}`,
    kind,
    plural,
    singular: kind.toLowerCase(),
    listKind: `${kind}List`,
    namespaced: true,
    categories: ["istio-io", category],
    folder: "istio",
    file: `${group}-${plural}.yaml`,
    labels: {},
    source: (version) =>
      `istio/_schemas/${group.split(".")[0].replace(/^./, (c) => c.toUpperCase())}IstioIo${version.replace(/^v/, "V")}${kind}.js`,
    ...options,
    overlays: { ...STATUS, ...options.overlays },
  };
}

const POLICY_TARGETS = {
  spec: ONE_ATTACHMENT,
  "spec.targetRef": SAME_NAMESPACE,
  "spec.targetRefs.*": SAME_NAMESPACE,
  "spec.selector.matchLabels": NO_WILDCARDS,
};

const ISTIO = [
  istio("security.istio.io", "AuthorizationPolicy", "authorizationpolicies", {
    shortNames: ["ap"],
    versions: ["v1", "v1beta1"],
    columns: [column("Action", ".spec.action", "The operation to take."), AGE],
    overlays: {
      ...POLICY_TARGETS,
      "spec.rules.*.from.*.source": rules(
        rule(
          "(has(self.serviceAccounts) || has(self.notServiceAccounts)) ? (!has(self.principals) && " +
            "!has(self.notPrincipals) && !has(self.namespaces) && !has(self.notNamespaces)) : true",
          "Cannot set serviceAccounts with namespaces or principals",
        ),
      ),
    },
  }),
  istio("security.istio.io", "PeerAuthentication", "peerauthentications", {
    shortNames: ["pa"],
    versions: ["v1", "v1beta1"],
    columns: [column("Mode", ".spec.mtls.mode", "Defines the mTLS mode used for peer authentication."), AGE],
    overlays: {
      spec: rules(
        rule(
          "!has(self.portLevelMtls) || (has(self.selector) && has(self.selector.matchLabels) && size(self.selector.matchLabels) > 0)",
          "portLevelMtls requires selector",
        ),
      ),
      "spec.selector.matchLabels": NO_WILDCARDS,
      "spec.portLevelMtls": both({ minProperties: 1 }, PORT_KEYS),
    },
  }),
  istio("security.istio.io", "RequestAuthentication", "requestauthentications", {
    shortNames: ["ra"],
    versions: ["v1", "v1beta1"],
    columns: [AGE],
    overlays: {
      ...POLICY_TARGETS,
      "spec.jwtRules.*": rules(rule("!(has(self.jwks) && has(self.jwksUri))", "only one of jwks or jwksUri can be set")),
      "spec.jwtRules.*.jwksUri": rules(
        rule("url(self).getScheme() in ['http', 'https']", "URI must have scheme http:// or https://"),
      ),
    },
  }),
  istio("networking.istio.io", "ServiceEntry", "serviceentries", {
    shortNames: ["se"],
    versions: ["v1", "v1beta1", "v1alpha3"],
    columns: [
      column("Hosts", ".spec.hosts", "The hosts associated with the ServiceEntry"),
      column("Location", ".spec.location", "Whether the service is external to the mesh or part of it"),
      column("Resolution", ".spec.resolution", "Service resolution mode for the hosts"),
      AGE,
    ],
    overlays: {
      spec: rules(
        rule("!(has(self.workloadSelector) && has(self.endpoints))", "only one of WorkloadSelector or Endpoints can be set"),
        rule(
          "!has(self.addresses) || !self.addresses.exists(a, a.contains('/')) || " +
            "(has(self.resolution) && self.resolution in ['NONE', 'STATIC']) || !has(self.resolution)",
          "CIDR addresses are allowed only for NONE/STATIC resolution types",
        ),
        rule(
          "!has(self.endpoints) || size(self.endpoints) == 0 || (has(self.resolution) && self.resolution != 'NONE')",
          "NONE mode cannot set endpoints",
        ),
        rule(
          "!(has(self.resolution) && self.resolution == 'DNS_ROUND_ROBIN') || !has(self.endpoints) || size(self.endpoints) <= 1",
          "DNS_ROUND_ROBIN mode cannot have multiple endpoints",
        ),
      ),
      "spec.hosts.*": rules(rule("self != '*'", "hostname cannot be wildcard")),
      "spec.ports": both(
        listMap("name"),
        rules(rule("self.all(a, self.exists_one(b, a.number == b.number))", "port number cannot be duplicated")),
      ),
      "spec.ports.*.number": rules(rule("0 < self && self <= 65535", "port must be between 1-65535")),
      "spec.ports.*.targetPort": rules(rule("0 < self && self <= 65535", "port must be between 1-65535")),
      "spec.endpoints.*": ADDRESS,
    },
  }),
  istio("networking.istio.io", "WorkloadEntry", "workloadentries", {
    shortNames: ["we"],
    versions: ["v1", "v1beta1", "v1alpha3"],
    columns: [AGE, column("Address", ".spec.address", "Address associated with the network endpoint.")],
    overlays: { spec: ADDRESS },
  }),
  istio("networking.istio.io", "WorkloadGroup", "workloadgroups", {
    shortNames: ["wg"],
    versions: ["v1", "v1beta1", "v1alpha3"],
    columns: [AGE],
    overlays: {},
  }),
  istio("networking.istio.io", "VirtualService", "virtualservices", {
    shortNames: ["vs"],
    versions: ["v1", "v1beta1", "v1alpha3"],
    columns: [
      column("Gateways", ".spec.gateways", "The names of gateways and sidecars that should apply these routes"),
      column("Hosts", ".spec.hosts", "The destination hosts to which traffic is being sent"),
      AGE,
    ],
    overlays: { "spec.http.*.timeout": POSITIVE_DURATION, "spec.http.*.retries.perTryTimeout": POSITIVE_DURATION },
  }),
  istio("networking.istio.io", "DestinationRule", "destinationrules", {
    shortNames: ["dr"],
    versions: ["v1", "v1beta1", "v1alpha3"],
    columns: [column("Host", ".spec.host", "The name of a service from the service registry"), AGE],
    overlays: {
      "spec.trafficPolicy.connectionPool.tcp.connectTimeout": POSITIVE_DURATION,
      "spec.trafficPolicy.outlierDetection.interval": POSITIVE_DURATION,
      "spec.trafficPolicy.outlierDetection.baseEjectionTime": POSITIVE_DURATION,
    },
  }),
  istio("telemetry.istio.io", "Telemetry", "telemetries", {
    shortNames: ["telemetry"],
    versions: ["v1", "v1alpha1"],
    columns: [AGE],
    overlays: POLICY_TARGETS,
  }),
];

// --- Gateway API ---------------------------------------------------------------------------------------------------

const GATEWAY_GROUP = "gateway.networking.k8s.io";
const EPOCH = "1970-01-01T00:00:00Z";
const pending = (type) => ({ type, status: "Unknown", reason: "Pending", message: "Waiting for controller", lastTransitionTime: EPOCH });
const CONDITIONS = both(listMap("type"), { maxItems: 8 });
const isDefault = (value) => ({ default: value });
const NEEDS_PORT = rules(rule("(size(self.group) == 0 && self.kind == 'Service') ? has(self.port) : true", "Must have port for Service reference"));

const PARENT_REFS = {
  "spec.parentRefs": { "x-kubernetes-list-type": "atomic" },
  "spec.parentRefs.*.group": isDefault(GATEWAY_GROUP),
  "spec.parentRefs.*.kind": isDefault("Gateway"),
  "status.parents": { "x-kubernetes-list-type": "atomic" },
  "status.parents.*.conditions": CONDITIONS,
  "status.parents.*.parentRef.group": isDefault(GATEWAY_GROUP),
  "status.parents.*.parentRef.kind": isDefault("Gateway"),
};

function backendRefs(path) {
  return {
    [`${path}.*`]: NEEDS_PORT,
    [`${path}.*.group`]: isDefault(""),
    [`${path}.*.kind`]: isDefault("Service"),
    [`${path}.*.weight`]: isDefault(1),
  };
}

/** Filters are unions: the member that `type` names is set, and no other. */
function filters(path, members, once) {
  const union = members.flatMap(([type, member]) => [
    rule(`!(has(self.${member}) && self.type != '${type}')`, `filter.${member} must be nil if the filter.type is not ${type}`),
    rule(`!(!has(self.${member}) && self.type == '${type}')`, `filter.${member} must be specified for ${type} filter.type`),
  ]);
  const repeated = once.map((type) => rule(`self.filter(f, f.type == '${type}').size() <= 1`, `${type} filter cannot be repeated`));
  const headers = ["requestHeaderModifier", "responseHeaderModifier"].flatMap((member) =>
    ["add", "set"].map((verb) => [`${path}.*.${member}.${verb}`, listMap("name")]),
  );
  return {
    [path]: rules(...repeated),
    [`${path}.*`]: rules(...union),
    [`${path}.*.requestMirror.backendRef`]: NEEDS_PORT,
    [`${path}.*.requestMirror.backendRef.group`]: isDefault(""),
    [`${path}.*.requestMirror.backendRef.kind`]: isDefault("Service"),
    [`${path}.*.requestMirror.fraction.denominator`]: isDefault(100),
    ...Object.fromEntries(headers),
  };
}

const HTTP_FILTERS = [
  ["RequestHeaderModifier", "requestHeaderModifier"],
  ["ResponseHeaderModifier", "responseHeaderModifier"],
  ["RequestMirror", "requestMirror"],
  ["RequestRedirect", "requestRedirect"],
  ["URLRewrite", "urlRewrite"],
  ["ExtensionRef", "extensionRef"],
  ["CORS", "cors"],
  // Of the experimental channel; the source has its fields, not its name.
  ["ExternalAuth", "externalAuth"],
];
const GRPC_FILTERS = HTTP_FILTERS.filter(([type]) => !["RequestRedirect", "URLRewrite", "CORS", "ExternalAuth"].includes(type));
const HTTP_ONCE = ["RequestHeaderModifier", "ResponseHeaderModifier", "RequestRedirect", "URLRewrite", "CORS", "ExternalAuth"];
const GRPC_ONCE = ["RequestHeaderModifier", "ResponseHeaderModifier"];

function httpFilters(path) {
  const overlays = filters(path, HTTP_FILTERS, HTTP_ONCE);
  const either = rule(
    "!(self.exists(f, f.type == 'RequestRedirect') && self.exists(f, f.type == 'URLRewrite'))",
    "May specify either httpRouteFilterRequestRedirect or httpRouteFilterRequestRewrite, but not both",
  );
  overlays[path]["x-kubernetes-validations"].unshift(either);
  const rewrites = ["requestRedirect.path", "urlRewrite.path"].map((member) => [
    `${path}.*.${member}`,
    rules(
      rule("self.type == 'ReplaceFullPath' ? has(self.replaceFullPath) : true", "replaceFullPath must be specified when type is set to 'ReplaceFullPath'"),
      rule("has(self.replaceFullPath) ? self.type == 'ReplaceFullPath' : true", "type must be 'ReplaceFullPath' when replaceFullPath is set"),
      rule("self.type == 'ReplacePrefixMatch' ? has(self.replacePrefixMatch) : true", "replacePrefixMatch must be specified when type is set to 'ReplacePrefixMatch'"),
      rule("has(self.replacePrefixMatch) ? self.type == 'ReplacePrefixMatch' : true", "type must be 'ReplacePrefixMatch' when replacePrefixMatch is set"),
    ),
  ]);
  const check = `${path}.*.externalAuth`;
  const protocols = ["GRPC", "HTTP"].flatMap((protocol) => {
    const member = protocol.toLowerCase();
    return [
      rule(`self.protocol == '${protocol}' ? has(self.${member}) : true`, `${member} must be specified when protocol is set to '${protocol}'`),
      rule(`has(self.${member}) ? self.protocol == '${protocol}' : true`, `protocol must be '${protocol}' when ${member} is set`),
    ];
  });
  return {
    ...overlays,
    [`${path}.*.type`]: { enum: HTTP_FILTERS.map(([type]) => type) },
    [`${path}.*.requestRedirect.statusCode`]: isDefault(302),
    [check]: rules(...protocols),
    [`${check}.backendRef`]: NEEDS_PORT,
    [`${check}.backendRef.group`]: isDefault(""),
    [`${check}.backendRef.kind`]: isDefault("Service"),
    [`${check}.forwardBody.maxSize`]: { format: "int32", minimum: 0 },
    ...Object.fromEntries(rewrites),
  };
}

const absolute = "(self.type in ['Exact', 'PathPrefix'])";
const PATH_RULES = rules(
  rule(`${absolute} ? self.value.startsWith('/') : true`, "value must be an absolute path and start with '/' when type one of ['Exact', 'PathPrefix']"),
  ...["//", "/./", "/../", "%2f", "%2F", "#"].map((part) =>
    rule(`${absolute} ? !self.value.contains('${part}') : true`, `must not contain '${part}' when type one of ['Exact', 'PathPrefix']`),
  ),
  ...["/..", "/."].map((part) =>
    rule(`${absolute} ? !self.value.endsWith('${part}') : true`, `must not end with '${part}' when type one of ['Exact', 'PathPrefix']`),
  ),
  rule("self.type in ['Exact', 'PathPrefix', 'RegularExpression']", "type must be one of ['Exact', 'PathPrefix', 'RegularExpression']"),
);
const ROOT_PATH = { type: "PathPrefix", value: "/" };

function gateway(kind, plural, options) {
  return {
    group: GATEWAY_GROUP,
    kind,
    plural,
    singular: kind.toLowerCase(),
    listKind: `${kind}List`,
    namespaced: true,
    categories: ["gateway-api"],
    shortNames: [],
    columns: [AGE],
    folder: "gateway-api",
    file: `${GATEWAY_GROUP}-${plural}.yaml`,
    labels: {},
    annotations: {
      "api-approved.kubernetes.io": "unapproved, a copy for Ambit's lab",
      "gateway.networking.k8s.io/bundle-version": "v1.5.0",
      "gateway.networking.k8s.io/channel": "experimental",
    },
    source: (version) => `gateway-api/_schemas/IoK8sSigsGatewayApiApis${version.replace(/^v/, "V")}${kind}.js`,
    ...options,
  };
}

const CERTIFICATE_REFS = (path) => ({ [`${path}.*.group`]: isDefault(""), [`${path}.*.kind`]: isDefault("Secret") });
const HOSTNAMES = column("Hostnames", ".spec.hostnames", "Host names that the route matches.");

const GATEWAY = [
  gateway("GatewayClass", "gatewayclasses", {
    namespaced: false,
    shortNames: ["gc"],
    versions: ["v1", "v1beta1"],
    columns: [
      column("Controller", ".spec.controllerName", "The controller that manages gateways of this class."),
      column("Accepted", '.status.conditions[?(@.type=="Accepted")].status', "Whether the controller accepted the class."),
      AGE,
      column("Description", ".spec.description", "What the class is for.", { priority: 1 }),
    ],
    overlays: {
      "spec.controllerName": rules(rule("self == oldSelf", "Value is immutable")),
      status: isDefault({ conditions: [pending("Accepted")] }),
      "status.conditions": both(CONDITIONS, isDefault([pending("Accepted")])),
      "status.supportedFeatures": listMap("name"),
    },
  }),
  gateway("Gateway", "gateways", {
    shortNames: ["gtw"],
    versions: ["v1", "v1beta1"],
    columns: [
      column("Class", ".spec.gatewayClassName", "The class of this gateway."),
      column("Address", ".status.addresses[*].value", "Addresses that the gateway has."),
      column("Programmed", '.status.conditions[?(@.type=="Programmed")].status', "Whether the gateway is configured."),
      AGE,
    ],
    overlays: {
      "spec.listeners": both(
        listMap("name"),
        rules(
          rule("self.all(l, l.protocol in ['HTTP', 'TCP', 'UDP'] ? !has(l.tls) : true)", "tls must not be specified for protocols ['HTTP', 'TCP', 'UDP']"),
          rule(
            "self.all(l, (l.protocol == 'HTTPS' && has(l.tls)) ? (!has(l.tls.mode) || l.tls.mode == 'Terminate') : true)",
            "tls mode must be Terminate for protocol HTTPS",
          ),
          rule(
            "self.all(l, l.protocol in ['TCP', 'UDP'] ? (!has(l.hostname) || l.hostname == '') : true)",
            "hostname must not be specified for protocols ['TCP', 'UDP']",
          ),
          rule(
            "self.all(a, self.exists_one(b, a.port == b.port && a.protocol == b.protocol && " +
              "(has(a.hostname) ? a.hostname : '') == (has(b.hostname) ? b.hostname : '')))",
            "Combination of port, protocol and hostname must be unique for each listener",
          ),
        ),
      ),
      "spec.listeners.*.allowedRoutes": isDefault({ namespaces: { from: "Same" } }),
      "spec.listeners.*.allowedRoutes.namespaces": isDefault({ from: "Same" }),
      "spec.listeners.*.allowedRoutes.namespaces.from": isDefault("Same"),
      "spec.listeners.*.allowedRoutes.kinds.*.group": isDefault(GATEWAY_GROUP),
      "spec.listeners.*.tls": rules(
        rule(
          "(has(self.mode) && self.mode == 'Terminate') ? (has(self.certificateRefs) && size(self.certificateRefs) > 0) || " +
            "(has(self.options) && size(self.options) > 0) : true",
          "certificateRefs or options must be specified when mode is Terminate",
        ),
      ),
      "spec.listeners.*.tls.mode": isDefault("Terminate"),
      ...CERTIFICATE_REFS("spec.listeners.*.tls.certificateRefs"),
      "spec.addresses.*.type": isDefault("IPAddress"),
      status: isDefault({ conditions: [pending("Accepted"), pending("Programmed")] }),
      "status.conditions": both(CONDITIONS, isDefault([pending("Accepted"), pending("Programmed")])),
      "status.listeners": listMap("name"),
      "status.listeners.*.conditions": CONDITIONS,
      "status.listeners.*.supportedKinds.*.group": isDefault(GATEWAY_GROUP),
      "status.addresses.*.type": isDefault("IPAddress"),
    },
  }),
  gateway("HTTPRoute", "httproutes", {
    versions: ["v1", "v1beta1"],
    columns: [HOSTNAMES, AGE],
    overlays: {
      ...PARENT_REFS,
      "spec.rules": isDefault([{ matches: [{ path: ROOT_PATH }] }]),
      "spec.rules.*.matches": isDefault([{ path: ROOT_PATH }]),
      "spec.rules.*.matches.*.path": both(isDefault(ROOT_PATH), PATH_RULES),
      "spec.rules.*.matches.*.path.type": isDefault("PathPrefix"),
      "spec.rules.*.matches.*.path.value": isDefault("/"),
      "spec.rules.*.matches.*.headers": listMap("name"),
      "spec.rules.*.matches.*.headers.*.type": isDefault("Exact"),
      "spec.rules.*.matches.*.queryParams": listMap("name"),
      "spec.rules.*.matches.*.queryParams.*.type": isDefault("Exact"),
      ...backendRefs("spec.rules.*.backendRefs"),
      ...httpFilters("spec.rules.*.filters"),
      ...httpFilters("spec.rules.*.backendRefs.*.filters"),
    },
  }),
  gateway("GRPCRoute", "grpcroutes", {
    versions: ["v1"],
    columns: [HOSTNAMES, AGE],
    overlays: {
      ...PARENT_REFS,
      "spec.rules.*.matches.*.method": rules(
        rule("has(self.service) || has(self.method)", "One or both of 'service' or 'method' must be specified"),
      ),
      "spec.rules.*.matches.*.method.type": isDefault("Exact"),
      "spec.rules.*.matches.*.headers": listMap("name"),
      "spec.rules.*.matches.*.headers.*.type": isDefault("Exact"),
      ...backendRefs("spec.rules.*.backendRefs"),
      ...filters("spec.rules.*.filters", GRPC_FILTERS, GRPC_ONCE),
      ...filters("spec.rules.*.backendRefs.*.filters", GRPC_FILTERS, GRPC_ONCE),
    },
  }),
  gateway("ReferenceGrant", "referencegrants", { shortNames: ["refgrant"], versions: ["v1beta1", "v1"], status: false, overlays: {} }),
  gateway("TLSRoute", "tlsroutes", {
    versions: ["v1", "v1alpha3", "v1alpha2"],
    overlays: { ...PARENT_REFS, ...backendRefs("spec.rules.*.backendRefs") },
  }),
  gateway("BackendTLSPolicy", "backendtlspolicies", {
    shortNames: ["btlspolicy"],
    versions: ["v1"],
    overlays: {
      "spec.targetRefs": rules(
        rule(
          "self.all(a, self.exists_one(b, a.group == b.group && a.kind == b.kind && a.name == b.name && " +
            "(has(a.sectionName) ? a.sectionName : '') == (has(b.sectionName) ? b.sectionName : '')))",
          "each target and sectionName may be given once",
        ),
      ),
      "spec.validation": rules(
        rule(
          "!(has(self.caCertificateRefs) && size(self.caCertificateRefs) > 0 && has(self.wellKnownCACertificates) && self.wellKnownCACertificates != '')",
          "must not contain both CACertificateRefs and WellKnownCACertificates",
        ),
        rule(
          "(has(self.caCertificateRefs) && size(self.caCertificateRefs) > 0) || (has(self.wellKnownCACertificates) && self.wellKnownCACertificates != '')",
          "must specify either CACertificateRefs or WellKnownCACertificates",
        ),
      ),
      "spec.validation.subjectAltNames.*": rules(
        rule("!(self.type == 'Hostname' && (!has(self.hostname) || self.hostname == ''))", "SubjectAltName element must contain Hostname, if Type is set to Hostname"),
        rule("!(self.type != 'Hostname' && has(self.hostname) && self.hostname != '')", "SubjectAltName element must not contain Hostname, if Type is not set to Hostname"),
        rule("!(self.type == 'URI' && (!has(self.uri) || self.uri == ''))", "SubjectAltName element must contain URI, if Type is set to URI"),
        rule("!(self.type != 'URI' && has(self.uri) && self.uri != '')", "SubjectAltName element must not contain URI, if Type is not set to URI"),
      ),
      "status.ancestors.*.conditions": CONDITIONS,
    },
  }),
  gateway("TCPRoute", "tcproutes", {
    versions: ["v1alpha2"],
    overlays: { ...PARENT_REFS, ...backendRefs("spec.rules.*.backendRefs") },
  }),
];

/** In each, the first version is the stored one. */
export const CRDS = [...ISTIO, ...GATEWAY];
