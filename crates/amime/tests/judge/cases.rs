//! The routing cases that every kind of proxy runs: manifests, requests, and what of the outcomes has to be equal.
//!
//! Each case is a VirtualService of its own for the host `NAME.example.com` on all gateways. The origins: `app` has three
//! versions, `v1` with three endpoints, `v2` and `v3` with one; `solo` one endpoint, `s`; `dead` has an endpoint at which
//! nobody listens; `empty` has none; `copies` gets mirrored requests, `m`.

/// What a request is sent by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    Http1,
    Http2,
    /// A unary call with one message.
    Grpc,
    /// An upgrade; then bytes come back.
    WebSocket,
    /// HTTP/1.1 through the gateways' TCP port.
    Tcp,
}

/// What of the destination has to be equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// The endpoint.
    Endpoint,
    /// The version: endpoints of one are chosen by chance.
    Version,
    /// The versions' shares of so many requests, about.
    Shares(u32),
}

/// A request of a case.
#[derive(Debug, Clone, Copy)]
pub struct Ask {
    pub by: By,
    pub method: &'static str,
    /// Empty: the case's own.
    pub host: &'static str,
    pub path: &'static str,
    pub headers: &'static [(&'static str, &'static str)],
    pub body: &'static str,
    pub destination: Destination,
    /// So many requests reach origins because of it, where that has to be waited for.
    pub reaches: usize,
}

pub const GET: Ask = Ask {
    by: By::Http1,
    method: "GET",
    host: "",
    path: "/",
    headers: &[],
    body: "",
    destination: Destination::Version,
    reaches: 0,
};

pub const fn get(path: &'static str) -> Ask {
    Ask { path, ..GET }
}

pub const fn with(path: &'static str, headers: &'static [(&'static str, &'static str)]) -> Ask {
    Ask { path, headers, ..GET }
}

const SHOP: &[(&str, &str)] = &[("origin", "http://shop.example.com"), ("access-control-request-method", "PUT")];
const EVIL: &[(&str, &str)] = &[("origin", "http://evil.example.com"), ("access-control-request-method", "PUT")];

/// Asks whether a PUT from there is allowed.
const fn preflight(path: &'static str, origin: &'static [(&'static str, &'static str)]) -> Ask {
    Ask { method: "OPTIONS", path, headers: origin, ..GET }
}

pub const fn grpc(headers: &'static [(&'static str, &'static str)]) -> Ask {
    Ask { by: By::Grpc, method: "POST", path: "/echo.Echo/Say", headers, ..GET }
}

pub struct Case {
    pub name: &'static str,
    /// `spec` of the VirtualService after `hosts` and `gateways`.
    pub rules: &'static str,
    /// In the place of `NAME.example.com`.
    pub hosts: &'static str,
    /// Further documents.
    pub objects: &'static str,
    pub asks: &'static [Ask],
}

const fn case(name: &'static str, rules: &'static str, asks: &'static [Ask]) -> Case {
    Case { name, rules, hosts: "", objects: "", asks }
}

/// What all cases share, beside the ServiceEntries that the runner makes of its origins.
pub const COMMON: &str = "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: app, namespace: shop}
spec:
  host: app.shop.internal
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
  - {name: v3, labels: {version: v3}}
  - {name: v4, labels: {version: v4}}
";

/// Those of this file, and of the files of their own.
pub fn all() -> impl Iterator<Item = &'static Case> {
    CASES.iter().chain(super::policies::CASES).chain(super::fields::CASES).chain(super::fields::CONDITIONS.iter())
}

const CASES: &[Case] = &[
    case(
        "paths",
        "
  http:
  - {match: [{uri: {exact: /exact}}], route: [{destination: {host: app.shop.internal, subset: v1, port: {number: 80}}}]}
  - {match: [{uri: {prefix: /prefix}}], route: [{destination: {host: app.shop.internal, subset: v2, port: {number: 80}}}]}
  - {match: [{uri: {regex: '/item/[0-9]+'}}], route: [{destination: {host: app.shop.internal, subset: v3, port: {number: 80}}}]}
  - {match: [{uri: {exact: /Case}, ignoreUriCase: true}], route: [{destination: {host: app.shop.internal, subset: v2, port: {number: 80}}}]}
  - {match: [{uri: {prefix: /exact}}], route: [{destination: {host: app.shop.internal, subset: v3, port: {number: 80}}}]}
",
        &[
            get("/exact"),
            get("/exact?a=b"),
            get("/exact/more"),
            get("/prefix"),
            get("/prefixed"),
            get("/prefix/x"),
            get("/item/12"),
            get("/item/12?q=1"),
            get("/item/12x"),
            get("/CASE"),
            get("/case"),
            get("/Exact"),
            get("/none"),
            get("/a/../exact"),
            get("/%65xact"),
            get("//exact"),
            get("/./exact"),
            get("/exact/../prefix"),
            get("/exact#x"),
            get("/a/%2e%2e/exact"),
            get("/item%2F12"),
            get("/exact%2"),
            get("/%zz"),
            get("/prefix{x}|^`"),
            get("/prefix/%7e%41%20%3a"),
            get("/exact%00"),
            get("/exact/"),
        ],
    ),
    case(
        "headers-match",
        "
  http:
  - {match: [{headers: {x-a: {exact: one}}}], route: [{destination: {host: app.shop.internal, subset: v1, port: {number: 80}}}]}
  - {match: [{headers: {x-a: {prefix: tw}}}], route: [{destination: {host: app.shop.internal, subset: v2, port: {number: 80}}}]}
  - {match: [{headers: {x-a: {regex: 'th.*e'}}}], route: [{destination: {host: app.shop.internal, subset: v3, port: {number: 80}}}]}
  - {match: [{headers: {x-there: {}}}], route: [{destination: {host: app.shop.internal, subset: v2, port: {number: 80}}}]}
  - {match: [{headers: {x-b: {exact: '1'}}, withoutHeaders: {x-not: {exact: 'no'}}}], route: [{destination: {host: app.shop.internal, subset: v3, port: {number: 80}}}]}
  - {match: [{withoutHeaders: {x-c: {}}, headers: {x-d: {exact: '1'}}}], route: [{destination: {host: app.shop.internal, subset: v2, port: {number: 80}}}]}
  - {match: [{headers: {cookie: {regex: '^(.*?;)?(user=jason)(;.*)?$'}}}], route: [{destination: {host: app.shop.internal, subset: v2, port: {number: 80}}}]}
",
        &[
            with("/", &[("x-a", "one")]),
            with("/", &[("X-A", "one")]),
            with("/", &[("x-a", "One")]),
            with("/", &[("x-a", "two")]),
            with("/", &[("x-a", "three")]),
            with("/", &[("x-a", "threee!")]),
            with("/", &[("x-a", "one"), ("x-a", "two")]),
            with("/", &[("x-a", "none"), ("x-a", "two")]),
            with("/", &[("x-a", "one,two")]),
            with("/", &[("x-b", "1"), ("x-not", "yes"), ("x-not", "no")]),
            with("/", &[("x-there", "")]),
            with("/", &[("x-there", "y")]),
            with("/", &[("x-b", "1")]),
            with("/", &[("x-b", "1"), ("x-not", "no")]),
            with("/", &[("x-b", "1"), ("x-not", "yes")]),
            with("/", &[("x-d", "1")]),
            with("/", &[("x-d", "1"), ("x-c", "")]),
            with("/", &[("cookie", "a=b;user=jason")]),
            with("/", &[("cookie", "user=jasons")]),
            get("/"),
        ],
    ),
    case(
        "other-matches",
        "
  http:
  - {match: [{method: {exact: POST}}, {method: {regex: 'PU.'}}], route: [{destination: {host: app.shop.internal, subset: v1, port: {number: 80}}}]}
  - {match: [{queryParams: {page: {exact: '1'}}}], route: [{destination: {host: app.shop.internal, subset: v2, port: {number: 80}}}]}
  - {match: [{queryParams: {page: {regex: '[0-9]+'}}}], route: [{destination: {host: app.shop.internal, subset: v3, port: {number: 80}}}]}
  - {match: [{queryParams: {flag: {exact: ''}}}], route: [{destination: {host: app.shop.internal, subset: v1, port: {number: 80}}}]}
  - {match: [{queryParams: {pre: {prefix: ab}}}], route: [{destination: {host: app.shop.internal, subset: v2, port: {number: 80}}}]}
  - {match: [{scheme: {exact: https}}], route: [{destination: {host: app.shop.internal, subset: v3, port: {number: 80}}}]}
  - {match: [{uri: {prefix: /both}, headers: {x-a: {exact: '1'}}, method: {exact: DELETE}}], route: [{destination: {host: app.shop.internal, subset: v3, port: {number: 80}}}]}
  - {match: [{authority: {prefix: other-matches.}}], route: [{destination: {host: app.shop.internal, subset: v2, port: {number: 80}}}]}
",
        &[
            Ask { method: "POST", body: "text", ..GET },
            Ask { method: "PUT", ..GET },
            Ask { method: "PATCH", ..GET },
            get("/?page=1"),
            get("/?page=12"),
            get("/?page=x"),
            get("/?page=1&page=x"),
            get("/?page=%31"),
            get("/?flag"),
            get("/?flag="),
            get("/?flag=1"),
            get("/?pre=abc"),
            with("/", &[("x-forwarded-proto", "https")]),
            Ask { method: "DELETE", path: "/both/x", headers: &[("x-a", "1")], ..GET },
            Ask { method: "DELETE", path: "/both/x", ..GET },
            Ask { by: By::Http2, method: "POST", body: "text", ..GET },
            Ask { method: "HEAD", ..GET },
            Ask { method: "OPTIONS", ..GET },
        ],
    ),
    Case {
        name: "hosts",
        rules: "
  http: [{route: [{destination: {host: app.shop.internal, subset: v1, port: {number: 80}}}]}]
",
        hosts: "'*.hosts.example.com'",
        objects: "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: exact-host, namespace: shop}
spec:
  hosts: [exact.hosts.example.com]
  gateways: GATEWAYS
  http: [{route: [{destination: {host: app.shop.internal, subset: v2, port: {number: 80}}}]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: deeper-host, namespace: shop}
spec:
  hosts: ['*.deep.hosts.example.com']
  gateways: GATEWAYS
  http: [{route: [{destination: {host: app.shop.internal, subset: v3, port: {number: 80}}}]}]
",
        asks: &[
            Ask { host: "any.hosts.example.com", ..GET },
            Ask { host: "exact.hosts.example.com", ..GET },
            Ask { host: "EXACT.hosts.example.COM", ..GET },
            Ask { host: "exact.hosts.example.com:80", ..GET },
            Ask { host: "exact.hosts.example.com:8080", ..GET },
            Ask { host: "x.exact.hosts.example.com", ..GET },
            Ask { host: "x.deep.hosts.example.com", ..GET },
            Ask { host: "deep.hosts.example.com", ..GET },
            Ask { host: "hosts.example.com", ..GET },
            Ask { host: "nobody.example.org", ..GET },
            Ask { by: By::Http2, host: "exact.hosts.example.com", ..GET },
            Ask { by: By::Http2, host: "nobody.example.org", ..GET },
        ],
    },
    case(
        "rewrites",
        "
  http:
  - {match: [{uri: {prefix: /old}}], rewrite: {uri: /new}, route: [{destination: {host: app.shop.internal, subset: v2, port: {number: 80}}}]}
  - {match: [{uri: {prefix: /slash/}}], rewrite: {uri: /}, route: [{destination: {host: app.shop.internal, subset: v2, port: {number: 80}}}]}
  - {match: [{uri: {exact: /exact}}], rewrite: {uri: /whole}, route: [{destination: {host: app.shop.internal, subset: v2, port: {number: 80}}}]}
  - {match: [{uri: {prefix: /host}}], rewrite: {authority: inner.example.com}, route: [{destination: {host: app.shop.internal, subset: v2, port: {number: 80}}}]}
  - {match: [{uri: {prefix: /regex}}], rewrite: {uriRegexRewrite: {match: '/regex/([a-z]+)/([0-9]+)', rewrite: '/\\2/\\1'}}, route: [{destination: {host: app.shop.internal, subset: v2, port: {number: 80}}}]}
  - {match: [{uri: {regex: '/any/.*'}}], rewrite: {uri: /fixed}, route: [{destination: {host: app.shop.internal, subset: v2, port: {number: 80}}}]}
",
        &[
            get("/old"),
            get("/old/x?y=1"),
            get("/older"),
            get("/slash/x"),
            get("/slash/"),
            get("/exact?q=1"),
            get("/host/x"),
            Ask { by: By::Http2, path: "/host/x", ..GET },
            get("/regex/abc/12?x=y"),
            get("/regex/none"),
            get("/any/thing?x=1"),
        ],
    ),
    case(
        "redirects",
        "
  http:
  - {match: [{uri: {prefix: /uri}}], redirect: {uri: /there}}
  - {match: [{uri: {prefix: /authority}}], redirect: {authority: new.example.com, redirectCode: 302}}
  - {match: [{uri: {prefix: /scheme}}], redirect: {scheme: https}}
  - {match: [{uri: {prefix: /port}}], redirect: {port: 8443, redirectCode: 307}}
  - {match: [{uri: {prefix: /derive}}], redirect: {scheme: https, derivePort: FROM_PROTOCOL_DEFAULT, redirectCode: 308}}
  - {match: [{uri: {prefix: /request}}], redirect: {authority: new.example.com, derivePort: FROM_REQUEST_PORT, redirectCode: 303}}
  - {match: [{uri: {prefix: /all}}], redirect: {uri: /there, authority: new.example.com, scheme: https, port: 9443}}
",
        &[
            get("/uri/x?y=1"),
            get("/authority/x?y=1"),
            get("/scheme/x"),
            get("/port/x"),
            get("/derive/x"),
            get("/request/x"),
            get("/all/x?y"),
            Ask { host: "redirects.example.com:1234", path: "/uri", ..GET },
            Ask { host: "redirects.example.com:1234", path: "/scheme", ..GET },
            Ask { by: By::Http2, path: "/uri/x", ..GET },
            Ask { method: "POST", path: "/uri/x", body: "x", ..GET },
            Ask { method: "HEAD", path: "/uri/x", ..GET },
            Ask { method: "HEAD", path: "/derive/x", ..GET },
            Ask { by: By::Http2, method: "HEAD", path: "/uri/x", ..GET },
            Ask { method: "OPTIONS", path: "/uri/x", ..GET },
        ],
    ),
    case(
        "direct",
        "
  http:
  - {match: [{uri: {prefix: /teapot}}], directResponse: {status: 418, body: {string: short and stout}}}
  - {match: [{uri: {prefix: /bytes}}], directResponse: {status: 200, body: {bytes: aGVsbG8=}}}
  - {match: [{uri: {prefix: /empty}}], directResponse: {status: 503}}
  - {match: [{uri: {prefix: /found}}], directResponse: {status: 302}}
  - {match: [{uri: {prefix: /edited}}], directResponse: {status: 201, body: {string: made}}, headers: {response: {set: {x-made: '1', content-type: text/made}}}}
",
        &[
            get("/teapot"),
            get("/bytes"),
            get("/empty"),
            get("/edited"),
            get("/found?x=1"),
            Ask { by: By::Http2, path: "/teapot", ..GET },
            Ask { method: "HEAD", path: "/teapot", ..GET },
            Ask { method: "HEAD", path: "/empty", ..GET },
            Ask { method: "HEAD", path: "/found", ..GET },
            Ask { method: "POST", path: "/teapot", body: "coffee", ..GET },
            Ask { path: "/teapot", ..grpc(&[]) },
        ],
    ),
    case(
        "header-edits",
        "
  http:
  - match: [{uri: {prefix: /rule}}]
    headers:
      request: {set: {x-set: rule, x-new: '%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%'}, add: {x-add: rule}, remove: [x-gone, user-agent]}
      response: {set: {x-upstream: changed}, add: {x-more: '1'}, remove: [x-answered]}
    route: [{destination: {host: app.shop.internal, subset: v2, port: {number: 80}}}]
  - match: [{uri: {prefix: /share}}]
    headers: {request: {set: {x-set: rule}, add: {x-add: rule}}}
    route:
    - destination: {host: app.shop.internal, subset: v2, port: {number: 80}}
      headers:
        request: {set: {x-set: share}, add: {x-add: share}, remove: [x-gone]}
        response: {set: {x-share: '1'}, remove: [x-upstream]}
  - match: [{uri: {prefix: /host}}]
    headers: {request: {set: {host: set.example.com}}}
    route: [{destination: {host: app.shop.internal, subset: v2, port: {number: 80}}}]
  - match: [{uri: {prefix: /format}}]
    headers:
      request: {set: {x-protocol: 'p=%PROTOCOL%', x-path: '%REQ(:path)%', x-percent: '100%%', x-missing: '[%REQ(x-none)%]'}}
      response: {set: {x-code: '%RESPONSE_CODE%', x-of: '%REQ(:authority)%', x-was: '%RESP(x-upstream)%'}}
    route: [{destination: {host: app.shop.internal, subset: v2, port: {number: 80}}}]
",
        &[
            with("/rule", &[("x-set", "mine"), ("x-add", "mine"), ("x-gone", "x"), ("user-agent", "test")]),
            with("/share", &[("x-set", "mine"), ("x-gone", "x")]),
            get("/host"),
            Ask { by: By::Http2, path: "/host", ..GET },
            get("/format?x=1"),
            Ask { by: By::Http2, path: "/format", ..GET },
            with("/rule", &[("connection", "x-hop"), ("x-hop", "1"), ("te", "trailers"), ("keep-alive", "5")]),
        ],
    ),
    case(
        "edge",
        "
  http: [{route: [{destination: {host: app.shop.internal, subset: v2, port: {number: 80}}}]}]
",
        &[
            get("/"),
            with("/", &[("x-forwarded-for", "1.2.3.4"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "h")]),
            with("/", &[("x-envoy-max-retries", "5"), ("x-envoy-upstream-rq-timeout-ms", "1"), ("x-envoy-retry-on", "5xx")]),
            with("/", &[("x-request-id", "11111111-2222-4333-8444-555555555555")]),
            with("/", &[("x-envoy-expected-rq-timeout-ms", "7"), ("x-envoy-internal", "true"), ("x-envoy-external-address", "1.1.1.1")]),
            with("/", &[("x-envoy-decorator-operation", "mine"), ("x-envoy-attempt-count", "9"), ("x-envoy-original-path", "/p")]),
            with("/", &[("x-envoy-retriable-status-codes", "503"), ("x-envoy-retriable-header-names", "a"), ("x-envoy-retry-grpc-on", "internal"), ("x-envoy-upstream-alt-stat-name", "a"), ("x-envoy-upstream-rq-per-try-timeout-ms", "1"), ("x-envoy-upstream-rq-timeout-alt-response", "1"), ("x-envoy-force-trace", "1"), ("x-envoy-ip-tags", "a"), ("x-envoy-hedge-on-per-try-timeout", "true"), ("x-envoy-original-host", "a"), ("x-envoy-downstream-service-cluster", "a"), ("x-envoy-downstream-service-node", "a"), ("x-envoy-other", "a")]),
            with("/", &[("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")]),
            with("/", &[("x-b3-traceid", "463ac35c9f6413ad48485a3953bb6124"), ("x-b3-spanid", "a2fb4a1d1a96d312"), ("x-b3-sampled", "1")]),
            with("/", &[("accept-encoding", "gzip"), ("user-agent", ""), ("via", "1.1 x")]),
            Ask { by: By::Http2, headers: &[("cookie", "a=1"), ("cookie", "b=2")], ..GET },
            Ask { method: "POST", body: "some text", headers: &[("content-type", "text/plain")], ..GET },
            Ask { by: By::Http2, method: "POST", body: "some text", ..GET },
            with("/", &[("x-status", "404")]),
            with("/", &[("x-status", "500")]),
            with("/", &[("x-status", "204")]),
            with("/", &[("x-status", "304")]),
            Ask { method: "HEAD", headers: &[("x-status", "200")], ..GET },
            Ask { by: By::Http2, headers: &[("x-status", "503")], ..GET },
        ],
    ),
    case(
        "weights",
        "
  http:
  - match: [{uri: {prefix: /two}}]
    route:
    - {destination: {host: app.shop.internal, subset: v2, port: {number: 80}}, weight: 75}
    - {destination: {host: app.shop.internal, subset: v3, port: {number: 80}}, weight: 25}
  - match: [{uri: {prefix: /zero}}]
    route:
    - {destination: {host: app.shop.internal, subset: v2, port: {number: 80}}, weight: 100}
    - {destination: {host: app.shop.internal, subset: v3, port: {number: 80}}, weight: 0}
  - match: [{uri: {prefix: /odd}}]
    route:
    - {destination: {host: app.shop.internal, subset: v1, port: {number: 80}}, weight: 1}
    - {destination: {host: app.shop.internal, subset: v2, port: {number: 80}}, weight: 1}
    - {destination: {host: app.shop.internal, subset: v3, port: {number: 80}}, weight: 1}
",
        &[
            Ask { destination: Destination::Shares(400), ..get("/two") },
            Ask { destination: Destination::Shares(30), ..get("/zero") },
            Ask { destination: Destination::Shares(400), ..get("/odd") },
        ],
    ),
    case(
        "time",
        "
  http:
  - {match: [{uri: {prefix: /short}}], timeout: 200ms, route: [{destination: {host: solo.shop.internal, port: {number: 80}}}]}
  - {match: [{uri: {prefix: /tries}}], timeout: 2s, retries: {attempts: 2, perTryTimeout: 150ms, retryOn: '5xx,reset'}, route: [{destination: {host: solo.shop.internal, port: {number: 80}}}]}
  - {match: [{uri: {prefix: /delay}}], timeout: 300ms, fault: {delay: {fixedDelay: 100ms, percentage: {value: 100}}}, route: [{destination: {host: solo.shop.internal, port: {number: 80}}}]}
",
        &[
            get("/short"),
            with("/short", &[("x-delay", "1500")]),
            Ask { by: By::Http2, path: "/short", headers: &[("x-delay", "1500")], ..GET },
            Ask { reaches: 3, ..with("/tries", &[("x-delay", "1500")]) },
            get("/delay"),
            with("/delay", &[("x-delay", "1500")]),
        ],
    ),
    case(
        "retries",
        "
  http:
  - {match: [{uri: {prefix: /three}}], retries: {attempts: 3, retryOn: '5xx'}, route: [{destination: {host: solo.shop.internal, port: {number: 80}}}]}
  - {match: [{uri: {prefix: /never}}], retries: {attempts: 0}, route: [{destination: {host: solo.shop.internal, port: {number: 80}}}]}
  - {match: [{uri: {prefix: /codes}}], retries: {attempts: 2, retryOn: 'retriable-status-codes,503'}, route: [{destination: {host: solo.shop.internal, port: {number: 80}}}]}
  - {match: [{uri: {prefix: /gateway}}], retries: {attempts: 2, retryOn: gateway-error}, route: [{destination: {host: solo.shop.internal, port: {number: 80}}}]}
  - {match: [{uri: {prefix: /dead}}], retries: {attempts: 2, retryOn: connect-failure}, route: [{destination: {host: dead.shop.internal, port: {number: 80}}}]}
  - {route: [{destination: {host: solo.shop.internal, port: {number: 80}}}]}
",
        &[
            with("/three", &[("x-fail-first", "2")]),
            with("/three", &[("x-fail-first", "9")]),
            with("/never", &[("x-fail-first", "1")]),
            with("/codes", &[("x-fail-first", "2")]),
            with("/codes", &[("x-status", "500")]),
            with("/gateway", &[("x-fail-first", "1")]),
            with("/gateway", &[("x-status", "500")]),
            get("/dead"),
            with("/", &[("x-fail-first", "1")]),
            Ask { method: "POST", path: "/three", body: "again and again", headers: &[("x-fail-first", "2")], ..GET },
            Ask { by: By::Http2, method: "POST", path: "/three", body: "again", headers: &[("x-fail-first", "1")], ..GET },
        ],
    ),
    case(
        "faults",
        "
  http:
  - {match: [{uri: {prefix: /abort}}], fault: {abort: {httpStatus: 555, percentage: {value: 100}}}, route: [{destination: {host: solo.shop.internal, port: {number: 80}}}]}
  - {match: [{uri: {prefix: /grpc}}], fault: {abort: {grpcStatus: UNAVAILABLE, percentage: {value: 100}}}, route: [{destination: {host: solo.shop.internal, port: {number: 80}}}]}
  - {match: [{uri: {prefix: /never}}], fault: {abort: {httpStatus: 500, percentage: {value: 0}}}, route: [{destination: {host: solo.shop.internal, port: {number: 80}}}]}
  - {match: [{uri: {prefix: /delay}}], fault: {delay: {fixedDelay: 50ms, percentage: {value: 100}}}, route: [{destination: {host: solo.shop.internal, port: {number: 80}}}]}
  - {match: [{uri: {prefix: /both}}], fault: {delay: {fixedDelay: 50ms, percentage: {value: 100}}, abort: {httpStatus: 418, percentage: {value: 100}}}, route: [{destination: {host: solo.shop.internal, port: {number: 80}}}]}
  - {fault: {abort: {grpcStatus: '7', percentage: {value: 100}}}, route: [{destination: {host: solo.shop.internal, port: {number: 81}}}]}
",
        &[
            get("/abort"),
            Ask { by: By::Http2, path: "/abort", ..GET },
            get("/grpc"),
            get("/never"),
            get("/delay"),
            get("/both"),
            grpc(&[]),
        ],
    ),
    case(
        "mirrors",
        "
  http:
  - match: [{uri: {prefix: /all}}]
    mirror: {host: copies.shop.internal, port: {number: 80}}
    route: [{destination: {host: solo.shop.internal, port: {number: 80}}}]
  - match: [{uri: {prefix: /none}}]
    mirrors: [{destination: {host: copies.shop.internal, port: {number: 80}}, percentage: {value: 0}}]
    route: [{destination: {host: solo.shop.internal, port: {number: 80}}}]
  - match: [{uri: {prefix: /rewritten}}]
    rewrite: {uri: /inner, authority: inner.example.com}
    headers: {request: {set: {x-set: '1'}}}
    mirrors: [{destination: {host: copies.shop.internal, port: {number: 80}}}]
    route: [{destination: {host: solo.shop.internal, port: {number: 80}}}]
",
        &[
            Ask { reaches: 2, ..get("/all") },
            Ask { reaches: 2, method: "POST", path: "/all", body: "copied", ..GET },
            Ask { reaches: 2, by: By::Http2, path: "/all", ..GET },
            get("/none"),
            Ask { reaches: 2, ..get("/rewritten/x") },
        ],
    ),
    case(
        "cors",
        "
  http:
  - corsPolicy:
      allowOrigins: [{exact: 'http://shop.example.com'}, {regex: 'https://.*\\.example\\.org'}]
      allowMethods: [GET, PUT]
      allowHeaders: [x-a, x-b]
      exposeHeaders: [x-c]
      maxAge: 24h
      allowCredentials: true
    route: [{destination: {host: solo.shop.internal, port: {number: 80}}}]
",
        &[
            Ask { method: "OPTIONS", headers: &[("origin", "http://shop.example.com"), ("access-control-request-method", "PUT")], ..GET },
            Ask { method: "OPTIONS", headers: &[("origin", "https://a.example.org"), ("access-control-request-method", "GET"), ("access-control-request-headers", "x-a")], ..GET },
            Ask { method: "OPTIONS", headers: &[("origin", "http://evil.example.com"), ("access-control-request-method", "PUT")], ..GET },
            Ask { method: "OPTIONS", headers: &[("origin", "http://shop.example.com")], ..GET },
            with("/", &[("origin", "http://shop.example.com")]),
            with("/", &[("origin", "http://evil.example.com")]),
            get("/"),
        ],
    ),
    case(
        "cors-corners",
        "
  http:
  - match: [{uri: {prefix: /ignored}}]
    corsPolicy: {allowOrigins: [{exact: 'http://shop.example.com'}], allowMethods: [PUT], allowHeaders: [x-a], maxAge: 5s, allowCredentials: true, exposeHeaders: [x-c], unmatchedPreflights: IGNORE}
    route: [{destination: {host: solo.shop.internal, port: {number: 80}}}]
  - match: [{uri: {prefix: /forwarded}}]
    corsPolicy: {allowOrigins: [{exact: 'http://shop.example.com'}], unmatchedPreflights: FORWARD, allowMethods: [PUT], exposeHeaders: [x-c]}
    route: [{destination: {host: solo.shop.internal, port: {number: 80}}}]
  - match: [{uri: {prefix: /redirected}}]
    corsPolicy: {allowOrigins: [{exact: 'http://shop.example.com'}], allowMethods: [PUT], exposeHeaders: [x-c]}
    redirect: {uri: /there}
  - match: [{uri: {prefix: /answered}}]
    corsPolicy: {allowOrigins: [{exact: 'http://shop.example.com'}], allowMethods: [PUT], exposeHeaders: [x-c], unmatchedPreflights: IGNORE}
    directResponse: {status: 418, body: {string: short and stout}}
  - match: [{uri: {prefix: /aborted}}]
    corsPolicy: {allowOrigins: [{exact: 'http://shop.example.com'}], allowMethods: [PUT], exposeHeaders: [x-c]}
    fault: {abort: {httpStatus: 555, percentage: {value: 100}}}
    route: [{destination: {host: solo.shop.internal, port: {number: 80}}}]
  - match: [{uri: {prefix: /none}}]
    corsPolicy: {allowOrigins: [{exact: 'http://shop.example.com'}], allowMethods: [PUT], exposeHeaders: [x-c]}
    route: [{destination: {host: app.shop.internal, subset: none, port: {number: 80}}}]
",
        &[
            preflight("/ignored", EVIL),
            preflight("/ignored", SHOP),
            with("/ignored", &[("origin", "http://evil.example.com")]),
            with("/ignored", &[("origin", "http://shop.example.com")]),
            Ask { method: "OPTIONS", ..with("/ignored", &[("origin", "http://evil.example.com")]) },
            Ask { method: "OPTIONS", ..with("/ignored", &[("origin", ""), ("access-control-request-method", "PUT")]) },
            Ask { method: "OPTIONS", ..with("/ignored", &[("origin", "http://evil.example.com"), ("access-control-request-method", "")]) },
            Ask { method: "OPTIONS", ..with("/ignored", &[("origin", "http://shop.example.com"), ("access-control-request-method", "")]) },
            preflight("/forwarded", EVIL),
            preflight("/redirected", EVIL),
            preflight("/redirected", SHOP),
            with("/redirected", &[("origin", "http://shop.example.com")]),
            preflight("/answered", EVIL),
            preflight("/answered", SHOP),
            with("/answered", &[("origin", "http://shop.example.com")]),
            preflight("/aborted", SHOP),
            with("/aborted", &[("origin", "http://shop.example.com")]),
            preflight("/none", SHOP),
            with("/none", &[("origin", "http://shop.example.com")]),
        ],
    ),
    Case {
        name: "hash",
        rules: "
  http:
  - {match: [{uri: {prefix: /maglev}}], route: [{destination: {host: maglev.shop.internal, port: {number: 80}}}]}
  - {match: [{uri: {prefix: /cookie}}], route: [{destination: {host: cookie.shop.internal, port: {number: 80}}}]}
  - {match: [{uri: {prefix: /query}}], route: [{destination: {host: query.shop.internal, port: {number: 80}}}]}
  - {route: [{destination: {host: ring.shop.internal, port: {number: 80}}}]}
",
        hosts: "",
        objects: "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: ring, namespace: shop}
spec: {host: ring.shop.internal, trafficPolicy: {loadBalancer: {consistentHash: {httpHeaderName: x-user}}}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: maglev, namespace: shop}
spec: {host: maglev.shop.internal, trafficPolicy: {loadBalancer: {consistentHash: {httpHeaderName: x-user, maglev: {tableSize: 65537}}}}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: cookie, namespace: shop}
spec: {host: cookie.shop.internal, trafficPolicy: {loadBalancer: {consistentHash: {httpCookie: {name: user, ttl: 0s}}}}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: query, namespace: shop}
spec: {host: query.shop.internal, trafficPolicy: {loadBalancer: {consistentHash: {httpQueryParameterName: user}}}}
",
        asks: &[
            Ask { destination: Destination::Endpoint, ..with("/", &[("x-user", "anna")]) },
            Ask { destination: Destination::Endpoint, ..with("/", &[("x-user", "ben")]) },
            Ask { destination: Destination::Endpoint, ..with("/", &[("x-user", "chris")]) },
            Ask { destination: Destination::Endpoint, ..with("/", &[("x-user", "dora")]) },
            Ask { destination: Destination::Endpoint, ..with("/", &[("x-user", "emil")]) },
            Ask { destination: Destination::Endpoint, ..with("/maglev", &[("x-user", "anna")]) },
            Ask { destination: Destination::Endpoint, ..with("/maglev", &[("x-user", "ben")]) },
            Ask { destination: Destination::Endpoint, ..with("/maglev", &[("x-user", "chris")]) },
            Ask { destination: Destination::Endpoint, ..with("/maglev", &[("x-user", "dora")]) },
            Ask { destination: Destination::Endpoint, ..with("/cookie", &[("cookie", "user=anna")]) },
            Ask { destination: Destination::Endpoint, ..with("/cookie", &[("cookie", "a=b; user=ben")]) },
            Ask { destination: Destination::Endpoint, ..get("/query?user=anna") },
            Ask { destination: Destination::Endpoint, ..get("/query?x=1&user=ben") },
        ],
    },
    case(
        "missing",
        "
  http:
  - {match: [{uri: {prefix: /subset}}], headers: {response: {set: {x-rule: '1'}}}, route: [{destination: {host: app.shop.internal, subset: none, port: {number: 80}}}]}
  - {match: [{uri: {prefix: /host}}], route: [{destination: {host: none.shop.internal, port: {number: 80}}}]}
  - {match: [{uri: {prefix: /pods}}], headers: {response: {set: {x-rule: '1'}}}, route: [{destination: {host: app.shop.internal, subset: v4, port: {number: 80}}}]}
  - {match: [{uri: {prefix: /empty}}], route: [{destination: {host: empty.shop.internal, port: {number: 80}}}]}
  - {match: [{uri: {prefix: /dead}}], retries: {attempts: 0}, route: [{destination: {host: dead.shop.internal, port: {number: 80}}}]}
  - {match: [{uri: {prefix: /echo.Echo}}], route: [{destination: {host: app.shop.internal, subset: v4, port: {number: 81}}}]}
",
        &[
            get("/subset"),
            get("/host"),
            get("/pods"),
            get("/empty"),
            get("/dead"),
            Ask { reaches: 0, ..with("/pods", &[("x-a", "1")]) },
            get("/nothing"),
            Ask { by: By::Http2, path: "/subset", ..GET },
            Ask { by: By::Http2, path: "/dead", ..GET },
            Ask { by: By::Http2, path: "/nothing", ..GET },
            Ask { method: "POST", path: "/subset", body: "x", ..GET },
            Ask { method: "HEAD", path: "/pods", ..GET },
            grpc(&[]),
            Ask { path: "/nothing", ..grpc(&[]) },
        ],
    ),
    case(
        "grpc",
        "
  http:
  - {match: [{headers: {x-short: {}}}], timeout: 200ms, route: [{destination: {host: app.shop.internal, subset: v2, port: {number: 81}}}]}
  - {route: [{destination: {host: app.shop.internal, subset: v2, port: {number: 81}}}], headers: {response: {set: {x-rule: '1'}}}}
",
        &[
            grpc(&[]),
            grpc(&[("x-grpc-status", "5")]),
            grpc(&[("grpc-timeout", "1S")]),
            grpc(&[("grpc-timeout", "100m"), ("x-delay", "1500")]),
            grpc(&[("x-short", "1"), ("x-delay", "1500")]),
            grpc(&[("x-status", "503")]),
            Ask { by: By::Http2, ..GET },
            GET,
            Ask { method: "POST", body: "plain over HTTP/1", ..GET },
        ],
    ),
    case(
        "upgrades",
        "
  http:
  - {match: [{uri: {prefix: /edited}}], headers: {request: {set: {x-set: '1'}}, response: {set: {x-set: '1'}}}, route: [{destination: {host: solo.shop.internal, port: {number: 80}}}]}
  - {match: [{uri: {prefix: /dead}}], retries: {attempts: 0}, route: [{destination: {host: dead.shop.internal, port: {number: 80}}}]}
  - {match: [{uri: {prefix: /h2}}], route: [{destination: {host: solo.shop.internal, port: {number: 81}}}]}
  - {match: [{uri: {prefix: /solo}}], route: [{destination: {host: solo.shop.internal, port: {number: 80}}}]}
",
        &[
            Ask { by: By::WebSocket, ..get("/solo") },
            Ask { by: By::WebSocket, ..get("/edited") },
            Ask { by: By::WebSocket, ..get("/dead") },
            Ask { by: By::WebSocket, ..get("/none") },
            Ask { by: By::WebSocket, ..get("/h2") },
        ],
    ),
    Case {
        name: "delegates",
        rules: "
  http:
  - {match: [{uri: {prefix: /reviews}}], delegate: {name: reviews-part, namespace: shop}}
  - {match: [{uri: {prefix: /gone}}], delegate: {name: no-such-part, namespace: shop}}
  - {route: [{destination: {host: app.shop.internal, subset: v1, port: {number: 80}}}]}
",
        hosts: "",
        objects: "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews-part, namespace: shop}
spec:
  http:
  - {match: [{uri: {prefix: /reviews/v2}}], route: [{destination: {host: app.shop.internal, subset: v2, port: {number: 80}}}]}
  - {match: [{uri: {exact: /reviews}}], route: [{destination: {host: app.shop.internal, subset: v3, port: {number: 80}}}]}
",
        asks: &[get("/reviews/v2/x"), get("/reviews"), get("/reviews/v3"), get("/gone"), get("/")],
    },
    Case {
        name: "tcp",
        rules: "
  tcp:
  - match: TCPPORTS
    route: [{destination: {host: app.shop.internal, subset: v2, port: {number: 80}}}]
",
        hosts: "'*'",
        objects: "",
        asks: &[
            Ask { by: By::Tcp, ..GET },
            Ask { by: By::Tcp, headers: &[("x-forwarded-for", "1.2.3.4")], ..GET },
        ],
    },
];
