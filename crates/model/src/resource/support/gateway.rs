//! Fields of Gateway.

use super::{Field, Field::*};

pub(super) const GATEWAY: &[Field] = &[
    Done("selector"),
    Message(
        "servers[]",
        &[
            Values("bind", &[("unix://*", "no socket file is opened; bind an address")]),
            Instead("defaultEndpoint", "Istio reserves it and ignores it too"),
            Done("hosts"),
            Instead("name", "Istio uses it in the names of statistics alone"),
            Message("port", PORT),
            Message("tls", SERVER_TLS),
        ],
    ),
];

const PORT: &[Field] = &[
    Done("name"),
    Done("number"),
    Done("protocol"),
    Instead("targetPort", "Istio ignores it too: what is behind decides"),
];

const SERVER_TLS: &[Field] = &[
    Done("caCertCredentialName"),
    Done("caCertificates"),
    Done("caCrl"),
    Done("cipherSuites"),
    Done("credentialName"),
    Done("credentialNames"),
    Done("ecdhCurves"),
    Done("httpsRedirect"),
    Done("insecureSkipVerify"),
    Done("maxProtocolVersion"),
    Done("minProtocolVersion"),
    Values("mode", &[("ISTIO_MUTUAL", "there are no workload certificates yet: the connection is closed")]),
    Done("privateKey"),
    Done("serverCertificate"),
    Done("subjectAltNames"),
    Message("tlsCertificates[]", TLS_CERTIFICATE),
    Done("verifyCertificateHash"),
    Done("verifyCertificateSpki"),
];

const TLS_CERTIFICATE: &[Field] = &[
    Instead("caCertificates", "Istio ignores it too; write it beside `tlsCertificates`"),
    Done("privateKey"),
    Done("serverCertificate"),
];
