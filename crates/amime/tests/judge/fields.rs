//! Cases of the fields of an HTTP rule: each condition of retries with each failure, where and how long tries go, CORS,
//! redirects, rewrites, faults and mirrors. `cases::all` has them.

use super::cases::{Ask, By, Case, Destination, GET, get, with};
use amime_testkit::trouble::{FAILURES, RETRIED};
use std::fmt::Write;
use std::sync::LazyLock;

/// A path for each condition and service, and a request for each failure that its first try meets.
pub static CONDITIONS: LazyLock<Vec<Case>> = LazyLock::new(|| {
    let mut rules = String::from("\n  http:\n");
    let mut asks = Vec::new();
    for (number, (condition, _)) in RETRIED.iter().enumerate() {
        let retries = format!("{{attempts: 1, backoff: 1ms, retryOn: '{condition}'}}");
        for (service, to) in [("http", "solo"), ("grpc", "solo"), ("dead", "dead")] {
            let port = if service == "grpc" { 81 } else { 80 };
            writeln!(
                rules,
                "  - {{match: [{{uri: {{exact: /{number}/{service}}}}}], retries: {retries}, route: [{{destination: \
                 {{host: {to}.shop.internal, port: {{number: {port}}}}}}}]}}"
            )
            .unwrap();
        }
        for (failure, service) in FAILURES {
            let path: &'static str = format!("/{number}/{service}").leak();
            let headers = [("x-fail-first", "1"), ("x-fail-with", failure)];
            asks.push(Ask { path, headers: Vec::from(headers).leak(), ..GET });
        }
    }
    vec![Case { name: "conditions", rules: rules.leak(), hosts: "", objects: "", asks: asks.leak() }]
});

const fn preflight(path: &'static str, headers: &'static [(&'static str, &'static str)]) -> Ask {
    Ask { method: "OPTIONS", path, headers, ..GET }
}

/// The first try fails, or so many do.
const fn failing(path: &'static str, headers: &'static [(&'static str, &'static str)]) -> Ask {
    Ask { destination: Destination::Endpoint, ..with(path, headers) }
}

pub const CASES: &[Case] = &[
    Case {
        name: "tries",
        rules: "
  http:
  - {match: [{uri: {prefix: /silent/5xx}}], retries: {attempts: 1, perTryTimeout: 300ms, retryOn: 5xx}, route: [{destination: {host: solo.shop.internal, port: {number: 80}}}]}
  - {match: [{uri: {prefix: /silent/reset}}], retries: {attempts: 1, perTryTimeout: 300ms, retryOn: reset}, route: [{destination: {host: solo.shop.internal, port: {number: 81}}}]}
  - {match: [{uri: {prefix: /silent/other}}], retries: {attempts: 1, perTryTimeout: 300ms, retryOn: 'reset-before-request,connect-failure,refused-stream,retriable-4xx,504,envoy-ratelimited,cancelled,deadline-exceeded,internal,resource-exhausted,unavailable'}, route: [{destination: {host: solo.shop.internal, port: {number: 80}}}]}
  - {match: [{uri: {prefix: /late}}], timeout: 300ms, retries: {attempts: 1, backoff: 1000h, retryOn: 5xx}, route: [{destination: {host: solo.shop.internal, port: {number: 80}}}]}
  - {match: [{uri: {prefix: /soon}}], retries: {attempts: 4, backoff: 1ms, retryOn: 5xx}, route: [{destination: {host: solo.shop.internal, port: {number: 80}}}]}
  - {match: [{uri: {prefix: /ring/other}}], retries: {attempts: 1, retryOn: 5xx, retryIgnorePreviousHosts: true}, route: [{destination: {host: ring.shop.internal, port: {number: 80}}}]}
  - {match: [{uri: {prefix: /ring}}], retries: {attempts: 1, retryOn: 5xx}, route: [{destination: {host: ring.shop.internal, port: {number: 80}}}]}
  - {match: [{uri: {prefix: /maglev/other}}], retries: {attempts: 1, retryOn: 5xx, retryIgnorePreviousHosts: true}, route: [{destination: {host: maglev.shop.internal, port: {number: 80}}}]}
  - {match: [{uri: {prefix: /maglev}}], retries: {attempts: 1, retryOn: 5xx}, route: [{destination: {host: maglev.shop.internal, port: {number: 80}}}]}
",
        hosts: "",
        objects: "",
        asks: &[
            failing("/silent/5xx", &[("x-fail-first", "1"), ("x-fail-with", "silence")]),
            failing("/silent/reset", &[("x-fail-first", "1"), ("x-fail-with", "silence")]),
            failing("/silent/other", &[("x-fail-first", "1"), ("x-fail-with", "silence")]),
            failing("/late", &[("x-fail-first", "1")]),
            failing("/soon", &[("x-fail-first", "4")]),
            failing("/soon", &[("x-fail-first", "5")]),
            failing("/ring", &[("x-fail-first", "1"), ("x-user", "anna")]),
            failing("/ring", &[("x-fail-first", "1"), ("x-user", "ben")]),
            failing("/ring/other", &[("x-fail-first", "1"), ("x-user", "anna")]),
            failing("/ring/other", &[("x-fail-first", "1"), ("x-user", "ben")]),
            failing("/ring/other", &[("x-fail-first", "1"), ("x-user", "chris")]),
            failing("/ring/other", &[("x-fail-first", "1"), ("x-user", "dora")]),
            failing("/maglev", &[("x-fail-first", "1"), ("x-user", "anna")]),
            failing("/maglev/other", &[("x-fail-first", "1"), ("x-user", "anna")]),
            failing("/maglev/other", &[("x-fail-first", "1"), ("x-user", "ben")]),
            failing("/maglev/other", &[("x-fail-first", "1"), ("x-user", "chris")]),
        ],
    },
    Case {
        name: "cors-fields",
        rules: "
  http:
  - match: [{uri: {prefix: /forward}}]
    corsPolicy: {allowOrigins: [{exact: 'http://shop.example.com'}], allowMethods: [GET], unmatchedPreflights: FORWARD}
    route: [{destination: {host: solo.shop.internal, port: {number: 80}}}]
  - match: [{uri: {prefix: /ignore}}]
    corsPolicy: {allowOrigins: [{exact: 'http://shop.example.com'}], allowMethods: [GET], unmatchedPreflights: IGNORE}
    route: [{destination: {host: solo.shop.internal, port: {number: 80}}}]
  - match: [{uri: {prefix: /origins}}]
    corsPolicy: {allowOrigins: [{prefix: 'https://pre.'}, {regex: 'http://[a-z]+'}], allowMethods: [GET, POST], maxAge: 90s, allowCredentials: false}
    route: [{destination: {host: solo.shop.internal, port: {number: 80}}}]
  - match: [{uri: {prefix: /old}}]
    corsPolicy: {allowOrigin: ['http://old.example.com'], allowHeaders: [x-old], allowCredentials: true}
    route: [{destination: {host: solo.shop.internal, port: {number: 80}}}]
  - match: [{uri: {prefix: /any}}]
    corsPolicy: {allowOrigin: ['*'], allowMethods: ['*'], allowHeaders: ['*'], allowCredentials: true}
    route: [{destination: {host: solo.shop.internal, port: {number: 80}}}]
",
        hosts: "",
        objects: "",
        asks: &[
            preflight("/forward", &[("origin", "http://shop.example.com"), ("access-control-request-method", "GET")]),
            preflight("/forward", &[("origin", "http://evil.example.com"), ("access-control-request-method", "GET")]),
            preflight("/forward", &[("origin", "http://shop.example.com")]),
            preflight("/ignore", &[("origin", "http://shop.example.com"), ("access-control-request-method", "GET")]),
            preflight("/ignore", &[("origin", "http://evil.example.com")]),
            with("/ignore", &[("origin", "http://evil.example.com")]),
            preflight("/origins", &[("origin", "https://pre.example.com"), ("access-control-request-method", "PUT")]),
            preflight("/origins", &[("origin", "http://abc"), ("access-control-request-method", "GET")]),
            preflight("/origins", &[("origin", "http://abc1"), ("access-control-request-method", "GET")]),
            preflight("/origins", &[("origin", "https://PRE.example.com"), ("access-control-request-method", "GET")]),
            with("/origins", &[("origin", "https://pre.example.com")]),
            preflight("/old", &[("origin", "http://old.example.com"), ("access-control-request-method", "GET")]),
            preflight("/old", &[("origin", "http://new.example.com"), ("access-control-request-method", "GET")]),
            with("/old", &[("origin", "http://old.example.com")]),
            with("/any", &[("origin", "http://some.example.com")]),
            preflight("/any", &[("origin", "null"), ("access-control-request-method", "PUT")]),
            preflight(
                "/any",
                &[
                    ("origin", "http://some.example.com"),
                    ("access-control-request-method", "PUT"),
                    ("access-control-request-headers", "x-one, x-two"),
                ],
            ),
            Ask { by: By::Http2, ..preflight("/forward", &[("origin", "http://shop.example.com"), ("access-control-request-method", "GET")]) },
            with("/forward", &[("origin", "http://shop.example.com"), ("x-status", "503")]),
        ],
    },
    Case {
        name: "redirect-fields",
        rules: "
  http:
  - {match: [{uri: {prefix: /old}}], redirect: {prefixRewrite: /new}}
  - {match: [{uri: {exact: /exactly}}], redirect: {prefixRewrite: /new}}
  - {match: [{uri: {prefix: /slash/}}], redirect: {prefixRewrite: /}}
  - {match: [{uri: {prefix: /query}}], redirect: {uri: '/there?own=1', redirectCode: 301}}
  - {match: [{uri: {prefix: /bare}}], redirect: {redirectCode: 308, authority: 'new.example.com:8080'}}
  - {match: [{uri: {prefix: /from-port}}], redirect: {derivePort: FROM_REQUEST_PORT}}
  - {match: [{uri: {prefix: /http}}], redirect: {scheme: http, derivePort: FROM_PROTOCOL_DEFAULT}}
  - {match: [{uri: {prefix: /https}}], redirect: {scheme: https, port: 443}}
  - {match: [{uri: {prefix: /eighty}}], redirect: {scheme: https, port: 80, authority: new.example.com}}
  - {match: [{uri: {prefix: /kept}}], redirect: {uri: /there, scheme: https}, headers: {response: {set: {x-moved: '1'}}}}
",
        hosts: "",
        objects: "",
        asks: &[
            get("/old/x?y=1"),
            get("/older?y"),
            get("/old"),
            get("/exactly?y=1"),
            get("/slash/x/y?z"),
            get("/query/x?y=1"),
            get("/query"),
            get("/bare/x?y=1"),
            get("/from-port/x"),
            Ask { host: "redirect-fields.example.com:1234", ..get("/from-port/x") },
            Ask { host: "redirect-fields.example.com:1234", ..get("/http/x") },
            Ask { host: "redirect-fields.example.com:80", ..get("/http/x") },
            Ask { host: "redirect-fields.example.com:80", ..get("/https/x") },
            Ask { host: "redirect-fields.example.com:1234", ..get("/https/x") },
            get("/eighty/x"),
            get("/kept/x"),
            Ask { by: By::Http2, ..get("/old/x?y=1") },
        ],
    },
    Case {
        name: "rewrite-fields",
        rules: "
  http:
  - {match: [{uri: {prefix: /Folded/}, ignoreUriCase: true}], rewrite: {uri: /new/}, route: [{destination: {host: solo.shop.internal, port: {number: 80}}}]}
  - {match: [{uri: {exact: /Exactly}, ignoreUriCase: true}], rewrite: {uri: /new}, route: [{destination: {host: solo.shop.internal, port: {number: 80}}}]}
  - {match: [{uri: {regex: '/Regex/.*'}, ignoreUriCase: true}], rewrite: {uri: /new}, route: [{destination: {host: solo.shop.internal, port: {number: 80}}}]}
  - {match: [{uri: {prefix: /all}}], rewrite: {uriRegexRewrite: {match: '[aeiou]', rewrite: '_'}}, route: [{destination: {host: solo.shop.internal, port: {number: 80}}}]}
  - {match: [{uri: {prefix: /group}}], rewrite: {uriRegexRewrite: {match: '^/group/([^/]+)(.*)$', rewrite: '\\2/\\1\\0'}}, route: [{destination: {host: solo.shop.internal, port: {number: 80}}}]}
  - {match: [{uri: {prefix: /host}}], rewrite: {authority: 'inner.example.com:81', uriRegexRewrite: {match: '^/host', rewrite: ''}}, route: [{destination: {host: solo.shop.internal, port: {number: 80}}}]}
  - {match: [{uri: {prefix: /root}}], rewrite: {uri: /}, route: [{destination: {host: solo.shop.internal, port: {number: 80}}}]}
  - {match: [{headers: {x-any: {}}}], rewrite: {uri: /put}, route: [{destination: {host: solo.shop.internal, port: {number: 80}}}]}
",
        hosts: "",
        objects: "",
        asks: &[
            get("/folded/x?Y=1"),
            get("/FOLDED/X"),
            get("/foldedx"),
            get("/EXACTLY?a=B"),
            get("/exactly/"),
            get("/REGEX/x"),
            get("/Regex/x?y=1"),
            get("/all/ae/x?a=e"),
            get("/group/one/two?three"),
            get("/group/one"),
            get("/host/x?y=1"),
            get("/host"),
            get("/root/x"),
            get("/root"),
            get("/rooted?x"),
            with("/any/path?x", &[("x-any", "1")]),
            Ask { by: By::Http2, ..get("/host/x?y=1") },
        ],
    },
    Case {
        name: "fault-fields",
        rules: "
  http:
  - {match: [{uri: {prefix: /percent/all}}], timeout: 100ms, fault: {delay: {fixedDelay: 200ms, percent: 100}}, route: [{destination: {host: solo.shop.internal, port: {number: 80}}}]}
  - {match: [{uri: {prefix: /percent/none}}], fault: {delay: {fixedDelay: 1000s, percent: 0}}, route: [{destination: {host: solo.shop.internal, port: {number: 80}}}]}
  - {match: [{uri: {prefix: /delay/none}}], fault: {delay: {fixedDelay: 1000s, percentage: {value: 0}}}, route: [{destination: {host: solo.shop.internal, port: {number: 80}}}]}
  - {match: [{uri: {prefix: /delay/rare}}], fault: {delay: {fixedDelay: 1000s, percentage: {value: 0.00001}}}, route: [{destination: {host: solo.shop.internal, port: {number: 80}}}]}
  - {match: [{uri: {prefix: /delay/plain}}], fault: {delay: {fixedDelay: 1000s}}, route: [{destination: {host: solo.shop.internal, port: {number: 80}}}]}
  - {match: [{uri: {prefix: /delay/moved}}], fault: {delay: {fixedDelay: 10ms, percentage: {value: 100}}}, redirect: {uri: /there}}
  - {match: [{uri: {prefix: /abort/plain}}], fault: {abort: {httpStatus: 418}}, route: [{destination: {host: solo.shop.internal, port: {number: 80}}}]}
  - {match: [{uri: {prefix: /abort/direct}}], fault: {abort: {httpStatus: 418, percentage: {value: 100}}}, directResponse: {status: 200}}
  - {match: [{uri: {prefix: /abort/tried}}], retries: {attempts: 2, retryOn: 5xx}, fault: {abort: {httpStatus: 503, percentage: {value: 100}}}, headers: {response: {set: {x-rule: '1'}}}, route: [{destination: {host: solo.shop.internal, port: {number: 80}}}]}
  - {match: [{uri: {prefix: /abort/grpc}}], fault: {abort: {grpcStatus: RESOURCE_EXHAUSTED, percentage: {value: 100}}}, route: [{destination: {host: solo.shop.internal, port: {number: 80}}}]}
",
        hosts: "",
        objects: "",
        asks: &[
            get("/percent/all"),
            get("/percent/none"),
            get("/delay/none"),
            get("/delay/rare"),
            get("/delay/plain"),
            get("/delay/moved"),
            get("/abort/plain"),
            get("/abort/direct"),
            get("/abort/tried"),
            get("/abort/grpc"),
            Ask { path: "/abort/grpc", ..super::cases::grpc(&[]) },
            Ask { method: "HEAD", ..get("/abort/tried") },
        ],
    },
    Case {
        name: "mirror-fields",
        rules: "
  http:
  - match: [{uri: {prefix: /several}}]
    retries: {attempts: 1, retryOn: 5xx, backoff: 1ms}
    mirrors:
    - {destination: {host: copies.shop.internal, port: {number: 80}}}
    - {destination: {host: app.shop.internal, subset: v2, port: {number: 80}}, percentage: {value: 100}}
    - {destination: {host: app.shop.internal, subset: v3, port: {number: 80}}, percentage: {value: 0}}
    route: [{destination: {host: solo.shop.internal, port: {number: 80}}}]
  - match: [{uri: {prefix: /percentage/all}}]
    mirror: {host: app.shop.internal, subset: v2, port: {number: 80}}
    mirrorPercentage: {value: 100}
    route: [{destination: {host: solo.shop.internal, port: {number: 80}}}]
  - match: [{uri: {prefix: /percentage/none}}]
    mirror: {host: copies.shop.internal, port: {number: 80}}
    mirrorPercentage: {value: 0}
    route: [{destination: {host: solo.shop.internal, port: {number: 80}}}]
  - match: [{uri: {prefix: /percent/all}}]
    mirror: {host: copies.shop.internal, port: {number: 80}}
    mirrorPercent: 100
    route: [{destination: {host: solo.shop.internal, port: {number: 80}}}]
  - match: [{uri: {prefix: /percent/none}}]
    mirror: {host: copies.shop.internal, port: {number: 80}}
    mirrorPercent: 0
    route: [{destination: {host: solo.shop.internal, port: {number: 80}}}]
  - match: [{uri: {prefix: /gone}}]
    mirrors: [{destination: {host: none.shop.internal, port: {number: 80}}}, {destination: {host: dead.shop.internal, port: {number: 80}}}, {destination: {host: copies.shop.internal, port: {number: 80}}}]
    route: [{destination: {host: solo.shop.internal, port: {number: 80}}}]
",
        hosts: "",
        objects: "",
        asks: &[
            Ask { reaches: 3, ..get("/several/x?y=1") },
            Ask { reaches: 3, method: "POST", body: "copied twice", ..get("/several") },
            Ask { reaches: 3, by: By::Http2, method: "POST", body: "copied twice", ..get("/several") },
            Ask { reaches: 3, host: "mirror-fields.example.com:8080", ..get("/several") },
            Ask { reaches: 2, ..get("/percentage/all") },
            get("/percentage/none"),
            Ask { reaches: 2, ..get("/percent/all") },
            get("/percent/none"),
            Ask { reaches: 2, ..get("/gone") },
            Ask { reaches: 4, ..with("/several", &[("x-fail-first", "1")]) },
        ],
    },
];
