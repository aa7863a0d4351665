//! Cases of traffic policies: what of a DestinationRule decides which endpoint a request goes to. `cases::all` has them.
//!
//! Further origins: `small-ring`, `small-maglev` and `weighted` have the endpoints of `app`, with v2's weight 6 in
//! `weighted`; `baked` has those of v1.

use super::cases::{Ask, Case, Destination, GET, get, with};

const fn user(path: &'static str, headers: &'static [(&'static str, &'static str)]) -> Ask {
    Ask { destination: Destination::Endpoint, ..with(path, headers) }
}

const fn shares(path: &'static str) -> Ask {
    Ask { destination: Destination::Shares(600), ..get(path) }
}

pub const CASES: &[Case] = &[
    Case {
        name: "table-sizes",
        rules: "
  http:
  - {match: [{uri: {prefix: /maglev}}], route: [{destination: {host: small-maglev.shop.internal, port: {number: 80}}}]}
  - {match: [{uri: {prefix: /v1}}], route: [{destination: {host: small-maglev.shop.internal, subset: v1, port: {number: 80}}}]}
  - {match: [{uri: {prefix: /old}}], route: [{destination: {host: small-ring.shop.internal, subset: v1, port: {number: 80}}}]}
  - {route: [{destination: {host: small-ring.shop.internal, port: {number: 80}}}]}
",
        hosts: "",
        objects: "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: small-ring, namespace: shop}
spec:
  host: small-ring.shop.internal
  trafficPolicy: {loadBalancer: {consistentHash: {httpHeaderName: x-user, ringHash: {minimumRingSize: 7}}}}
  subsets:
  - name: v1
    labels: {version: v1}
    trafficPolicy: {loadBalancer: {consistentHash: {httpHeaderName: x-user, minimumRingSize: 4}}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: small-maglev, namespace: shop}
spec:
  host: small-maglev.shop.internal
  trafficPolicy:
    portLevelSettings:
    - port: {number: 80}
      loadBalancer: {consistentHash: {httpHeaderName: x-user, maglev: {tableSize: 11}}}
  subsets:
  - name: v1
    labels: {version: v1}
    trafficPolicy:
      portLevelSettings:
      - port: {number: 80}
        loadBalancer: {consistentHash: {httpHeaderName: x-user, maglev: {tableSize: 7}}}
",
        asks: &[
            user("/", &[("x-user", "anna")]),
            user("/", &[("x-user", "ben")]),
            user("/", &[("x-user", "chris")]),
            user("/", &[("x-user", "dora")]),
            user("/", &[("x-user", "emil")]),
            user("/old", &[("x-user", "anna")]),
            user("/old", &[("x-user", "ben")]),
            user("/old", &[("x-user", "chris")]),
            user("/old", &[("x-user", "dora")]),
            user("/maglev", &[("x-user", "anna")]),
            user("/maglev", &[("x-user", "ben")]),
            user("/maglev", &[("x-user", "chris")]),
            user("/maglev", &[("x-user", "dora")]),
            user("/v1", &[("x-user", "anna")]),
            user("/v1", &[("x-user", "ben")]),
            user("/v1", &[("x-user", "chris")]),
            user("/v1", &[("x-user", "dora")]),
        ],
    },
    Case {
        name: "made-cookies",
        rules: "
  http: [{route: [{destination: {host: baked.shop.internal, port: {number: 80}}}]}]
",
        hosts: "",
        objects: "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: baked, namespace: shop}
spec:
  host: baked.shop.internal
  trafficPolicy:
    loadBalancer:
      consistentHash:
        httpCookie: {name: user, path: /shop, ttl: 90s, attributes: [{name: SameSite, value: Lax}, {name: Secure}]}
",
        asks: &[GET, with("/", &[("cookie", "a=b")])],
    },
    Case {
        name: "least-request-by-weight",
        rules: "
  http: [{route: [{destination: {host: weighted.shop.internal, port: {number: 80}}}]}]
",
        hosts: "",
        objects: "",
        asks: &[shares("/")],
    },
];
