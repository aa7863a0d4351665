//! Fields of MeshConfig that have an effect. What is not here is named when it is set.

use super::destination_rule::{LOCALITY_LB, ZONE_AWARE_LB};
use super::{Field, Field::*};

pub(super) const MESH_CONFIG: &[Field] = &[
    Done("accessLogEncoding"),
    Done("accessLogFile"),
    Done("accessLogFormat"),
    Done("connectTimeout"),
    Message("defaultConfig", &[Message("gatewayTopology", &[Done("numTrustedProxies")])]),
    Done("defaultDestinationRuleExportTo"),
    Done("defaultHttpRetryPolicy"),
    Message(
        "defaultInboundHttpRetryPolicy",
        &[
            Done("attempts"),
            Done("backoff"),
            Instead("perTryTimeout", "a try takes as long as the request may, as in Istio"),
            Instead("retryIgnorePreviousHosts", "an inbound route has one destination, the application"),
            Done("retryOn"),
            Instead("retryRemoteLocalities", "an inbound route has one destination, the application"),
        ],
    ),
    Done("defaultServiceExportTo"),
    Done("defaultTrafficPolicy"),
    Done("defaultVirtualServiceExportTo"),
    Done("disableEnvoyListenerLog"),
    Done("dnsRefreshRate"),
    Done("h2UpgradePolicy"),
    Message("localityLbSetting", LOCALITY_LB),
    Message(
        "outboundTrafficPolicy",
        &[Values(
            "mode",
            &[("ALLOW_ANY_DYNAMIC_DNS", "as ALLOW_ANY: a connection goes to the address that it was made to")],
        )],
    ),
    Done("pathNormalization"),
    Done("protocolDetectionTimeout"),
    Done("proxyInboundListenPort"),
    Done("proxyListenPort"),
    Done("rootNamespace"),
    Done("tcpKeepalive"),
    Instead("trustDomain", "identities do not exist yet; it is shown, and nothing is checked by it"),
    Message("zoneAwareLbSetting", ZONE_AWARE_LB),
];
