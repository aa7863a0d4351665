//! Pages that istiod has and this control plane has not, each with the reason. `answer` asks first.

const ABSENT: &[(&str, &str)] = &[
    ("/debug/ambientz", "/debug/ambientz: this control plane serves sidecars and gateways, and no ambient mode"),
    ("/debug/authorizationz", "/debug/authorizationz: see /debug/configz?kind=AuthorizationPolicy"),
    (
        "/debug/cachez",
        "/debug/cachez: nothing is cached that could be looked at or cleared; see /debug/sidecarz for what proxies share",
    ),
    ("/debug/clusterz", "/debug/clusterz: this control plane reads files, and no other clusters"),
    ("/debug/ecdsz", "/debug/ecdsz: extensions are not served as resources of their own"),
    ("/debug/force_disconnect", "/debug/force_disconnect: proxies are not disconnected by hand; end the proxy itself"),
    ("/debug/inject", "/debug/inject: this control plane injects no sidecars"),
    ("/debug/krtz", "/debug/krtz: see /debug/configz for what was read, and /debug/push_status for what came of it"),
    ("/debug/mcsz", "/debug/mcsz: services of several clusters are not joined here"),
    ("/debug/ndsz", "/debug/ndsz: names are not served to proxies"),
    ("/debug/networkz", "/debug/networkz: there is one network, without gateways to others"),
    ("/debug/pushcontext", "/debug/pushcontext: see /debug/configz, /debug/registryz and /debug/sidecarz"),
    ("/debug/resourcesz", "/debug/resourcesz: see /debug/configz for objects, /debug/adsz for what is watched"),
    ("/debug/telemetryz", "/debug/telemetryz: Telemetry objects are not read"),
];

/// Go's profiles.
const PPROF: &str = "/debug/pprof: there are no profiles by HTTP; perf record -g -p PID works on this process";

/// Why there is no such page.
pub(super) fn why(path: &str) -> Option<&'static str> {
    if path == "/debug/pprof" || path.starts_with("/debug/pprof/") {
        return Some(PPROF);
    }
    ABSENT.iter().find(|(absent, _)| *absent == path).map(|(_, why)| *why)
}
