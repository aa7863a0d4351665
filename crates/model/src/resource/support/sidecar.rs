//! Fields of Sidecar.

use super::destination_rule::INBOUND_POOL;
use super::virtual_service::DESTINATION;
use super::{Field, Field::*};

pub(super) const SIDECAR: &[Field] = &[
    Message(
        "egress[]",
        &[
            Values("bind", &[("unix://*", "no socket file is opened; bind an address")]),
            Done("captureMode"),
            Done("hosts"),
            Message("port", PORT),
        ],
    ),
    Message("inboundConnectionPool", INBOUND_POOL),
    Message(
        "ingress[]",
        &[
            Done("bind"),
            Done("captureMode"),
            Message("connectionPool", INBOUND_POOL),
            Done("defaultEndpoint"),
            Message("port", PORT),
            Instead("tls", "the port is served in the clear"),
        ],
    ),
    Message("outboundTrafficPolicy", &[Message("egressProxy", DESTINATION), Done("mode")]),
    Message("workloadSelector", &[Done("labels")]),
];

const PORT: &[Field] = &[
    Instead("name", "nothing shows it; the protocol is read from `protocol`"),
    Done("number"),
    Done("protocol"),
    Refused("targetPort", "Istio's webhook refuses it too; write defaultEndpoint"),
];
