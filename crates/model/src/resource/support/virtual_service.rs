//! Fields of VirtualService.

use super::{Field, Field::*};

pub(super) const VIRTUAL_SERVICE: &[Field] = &[
    Done("exportTo"),
    Done("gateways"),
    Done("hosts"),
    Message(
        "http[]",
        &[
            Message(
                "corsPolicy",
                &[
                    Done("allowCredentials"),
                    Done("allowHeaders"),
                    Done("allowMethods"),
                    Done("allowOrigin"),
                    Message("allowOrigins[]", STRING_MATCH),
                    Done("exposeHeaders"),
                    Done("maxAge"),
                    Done("unmatchedPreflights"),
                ],
            ),
            Message("delegate", &[Done("name"), Done("namespace")]),
            Message("directResponse", &[Message("body", &[Done("bytes"), Done("string")]), Done("status")]),
            Message(
                "fault",
                &[
                    Message(
                        "abort",
                        &[
                            Done("grpcStatus"),
                            Refused("http2Error", "Istio's webhook refuses it too; write httpStatus or grpcStatus"),
                            Done("httpStatus"),
                            Message("percentage", &[Done("value")]),
                        ],
                    ),
                    Message(
                        "delay",
                        &[
                            Refused("exponentialDelay", "Istio's webhook refuses it too; write fixedDelay"),
                            Done("fixedDelay"),
                            Done("percent"),
                            Message("percentage", &[Done("value")]),
                        ],
                    ),
                ],
            ),
            Message("headers", HEADERS),
            Message(
                "match[]",
                &[
                    Message("authority", STRING_MATCH),
                    Done("gateways"),
                    Message("headers{}", STRING_MATCH),
                    Done("ignoreUriCase"),
                    Message("method", STRING_MATCH),
                    Done("name"),
                    Done("port"),
                    Message("queryParams{}", STRING_MATCH),
                    Message("scheme", STRING_MATCH),
                    Done("sourceLabels"),
                    Done("sourceNamespace"),
                    Instead("statPrefix", "Amime's own proxy has no counters by it; an Envoy has"),
                    Message("uri", STRING_MATCH),
                    Message("withoutHeaders{}", STRING_MATCH),
                ],
            ),
            Message("mirror", DESTINATION),
            Done("mirrorPercent"),
            Message("mirrorPercentage", &[Done("value")]),
            Message("mirrors[]", &[Message("destination", DESTINATION), Message("percentage", &[Done("value")])]),
            Done("name"),
            Message(
                "redirect",
                &[
                    Done("authority"),
                    Done("derivePort"),
                    Done("port"),
                    Done("prefixRewrite"),
                    Done("redirectCode"),
                    Done("scheme"),
                    Done("uri"),
                ],
            ),
            Message(
                "retries",
                &[
                    Done("attempts"),
                    Done("backoff"),
                    Done("perTryTimeout"),
                    Done("retryIgnorePreviousHosts"),
                    Done("retryOn"),
                    Done("retryRemoteLocalities"),
                ],
            ),
            Message(
                "rewrite",
                &[Done("authority"), Done("uri"), Message("uriRegexRewrite", &[Done("match"), Done("rewrite")])],
            ),
            Message("route[]", &[Message("destination", DESTINATION), Message("headers", HEADERS), Done("weight")]),
            Done("timeout"),
        ],
    ),
    Message(
        "tcp[]",
        &[
            Message(
                "match[]",
                &[
                    Done("destinationSubnets"),
                    Done("gateways"),
                    Done("port"),
                    Done("sourceLabels"),
                    Done("sourceNamespace"),
                    Instead("sourceSubnet", "Istio ignores it too; write sourceLabels or sourceNamespace"),
                ],
            ),
            Message("route[]", TCP_ROUTE),
        ],
    ),
    Message(
        "tls[]",
        &[
            Message(
                "match[]",
                &[
                    Done("destinationSubnets"),
                    Done("gateways"),
                    Done("port"),
                    Done("sniHosts"),
                    Done("sourceLabels"),
                    Done("sourceNamespace"),
                ],
            ),
            Message("route[]", TCP_ROUTE),
        ],
    ),
];

const STRING_MATCH: &[Field] = &[Done("exact"), Done("prefix"), Done("regex")];

const HEADERS: &[Field] = &[Message("request", HEADER_OPERATIONS), Message("response", HEADER_OPERATIONS)];

const HEADER_OPERATIONS: &[Field] = &[Done("add"), Done("remove"), Done("set")];

const TCP_ROUTE: &[Field] = &[Message("destination", DESTINATION), Done("weight")];

pub(super) const DESTINATION: &[Field] = &[Done("host"), Message("port", &[Done("number")]), Done("subset")];
