//! Fields of DestinationRule.

use super::{Field, Field::*};

pub(super) const DESTINATION_RULE: &[Field] = &[
    Done("exportTo"),
    Done("host"),
    Message("subsets[]", &[Done("labels"), Done("name"), Message("trafficPolicy", TRAFFIC_POLICY)]),
    Message("trafficPolicy", TRAFFIC_POLICY),
    Message("workloadSelector", &[Done("matchLabels")]),
];

const TRAFFIC_POLICY: &[Field] = &[
    Message("connectionPool", CONNECTION_POOL),
    Message("loadBalancer", LOAD_BALANCER),
    Message("outlierDetection", OUTLIER_DETECTION),
    Message(
        "portLevelSettings[]",
        &[
            Message("connectionPool", CONNECTION_POOL),
            Message("loadBalancer", LOAD_BALANCER),
            Message("outlierDetection", OUTLIER_DETECTION),
            Message("port", &[Done("number")]),
            Message("tls", CLIENT_TLS),
        ],
    ),
    Message("proxyProtocol", &[Done("version")]),
    Message("retryBudget", RETRY_BUDGET),
    Message("tls", CLIENT_TLS),
    Message("tunnel", &[Done("protocol"), Done("targetHost"), Done("targetPort")]),
];

pub(super) const CONNECTION_POOL: &[Field] = &[Message("http", HTTP), Message("tcp", TCP)];

/// Of connections to applications.
pub(super) const INBOUND_POOL: &[Field] = &[Message("http", INBOUND_HTTP), Message("tcp", TCP)];

const HTTP: &[Field] = &[
    Done("h2UpgradePolicy"),
    Done("http1MaxPendingRequests"),
    Message("http2KeepAlive", &[Done("interval"), Done("timeout")]),
    Done("http2MaxRequests"),
    Done("idleTimeout"),
    Done("maxConcurrentStreams"),
    Done("maxRequestsPerConnection"),
    Done("maxRetries"),
    Done("useClientProtocol"),
];

const INBOUND_HTTP: &[Field] = &[
    Instead("h2UpgradePolicy", "it is of clients, in Istio too: the application is spoken to as the port says"),
    Done("http1MaxPendingRequests"),
    Message("http2KeepAlive", &[Done("interval"), Done("timeout")]),
    Done("http2MaxRequests"),
    Done("idleTimeout"),
    Done("maxConcurrentStreams"),
    Done("maxRequestsPerConnection"),
    Done("maxRetries"),
    Done("useClientProtocol"),
];

const TCP: &[Field] = &[
    Done("connectTimeout"),
    Done("idleTimeout"),
    Done("maxConnectionDuration"),
    Done("maxConnections"),
    Message("tcpKeepalive", TCP_KEEPALIVE),
];

const TCP_KEEPALIVE: &[Field] = &[Done("interval"), Done("probes"), Done("time")];

const LOAD_BALANCER: &[Field] = &[
    Instead("backendUtilization", "requests are balanced as `simple` says"),
    Message("consistentHash", CONSISTENT_HASH),
    Message("localityLbSetting", LOCALITY_LB),
    Done("simple"),
    Message("warmup", &[Done("aggression"), Done("duration"), Done("minimumPercent")]),
    Done("warmupDurationSecs"),
    Message("zoneAwareLbSetting", ZONE_AWARE_LB),
];

/// Also of MeshConfig.
pub(super) const LOCALITY_LB: &[Field] = &[
    Message("distribute[]", &[Done("from"), Done("to")]),
    Done("enabled"),
    Message("failover[]", &[Done("from"), Done("to")]),
    Done("failoverPriority"),
];

/// Also of MeshConfig.
pub(super) const ZONE_AWARE_LB: &[Field] = &[
    Done("enabled"),
    Message("failover[]", &[Done("from"), Done("to")]),
    Done("failoverPriority"),
    Instead(
        "minClusterSize",
        "requests go to all zones of the client's region alike, as in Istio without self-discovery",
    ),
];

const CONSISTENT_HASH: &[Field] = &[
    Message("httpCookie", HTTP_COOKIE),
    Done("httpHeaderName"),
    Done("httpQueryParameterName"),
    Message("maglev", &[Done("tableSize")]),
    Done("minimumRingSize"),
    Message("ringHash", &[Done("minimumRingSize")]),
    Done("useSourceIp"),
];

const HTTP_COOKIE: &[Field] = &[Message("attributes[]", COOKIE_ATTRIBUTE), Done("name"), Done("path"), Done("ttl")];

const COOKIE_ATTRIBUTE: &[Field] = &[Done("name"), Done("value")];

const OUTLIER_DETECTION: &[Field] = &[
    Done("baseEjectionTime"),
    Done("consecutive5xxErrors"),
    Instead("consecutiveErrors", "Istio ignores it since 1.6; write consecutive5xxErrors or consecutiveGatewayErrors"),
    Done("consecutiveGatewayErrors"),
    Done("consecutiveLocalOriginFailures"),
    Done("interval"),
    Done("maxEjectionPercent"),
    Done("minHealthPercent"),
    Done("outlierDetectionHttpErrorCodes"),
    Done("splitExternalLocalOriginErrors"),
];

const CLIENT_TLS: &[Field] = &[
    Done("caCertificates"),
    Done("caCrl"),
    Done("clientCertificate"),
    Done("credentialName"),
    Done("insecureSkipVerify"),
    Values("mode", &[("ISTIO_MUTUAL", "requests are sent in the clear")]),
    Done("privateKey"),
    Done("sni"),
    Done("subjectAltNames"),
];

const RETRY_BUDGET: &[Field] = &[Done("budgetInterval"), Done("minRetryConcurrency"), Done("percent")];
