//! Faults and CORS.

use crate::config::{Abort, Cors, Fault, PerMillion, StringMatch};
use crate::resource::virtual_service::{
    CorsPolicy, GRPC_STATUS, HttpFault, Percent, StringMatch as Written, UnmatchedPreflights,
};

/// None where nothing of it takes effect.
pub fn fault(written: &HttpFault) -> Option<Fault> {
    let delay = written.delay.as_ref().and_then(|delay| {
        let share = match delay.percentage {
            Some(percent) => share(percent),
            None => PerMillion::from_percent(f64::from(delay.percent)),
        };
        Some((share, delay.fixed_delay?.into()))
    });
    let abort = written.abort.as_ref().and_then(|abort| {
        // Without a percentage nothing is aborted, as Istio's API says.
        let share = abort.percentage.map_or(PerMillion(0), share);
        let kind = match (abort.http_status, &abort.grpc_status) {
            (Some(status), _) => Abort::Http(u16::try_from(status).ok()?),
            (None, Some(name)) => Abort::Grpc(grpc_status(name)?),
            (None, None) => return None,
        };
        Some((share, kind))
    });
    (delay.is_some() || abort.is_some()).then_some(Fault { delay, abort })
}

pub fn share(percent: Percent) -> PerMillion {
    PerMillion::from_percent(percent.value)
}

/// The number of a gRPC status name.
fn grpc_status(name: &str) -> Option<u32> {
    GRPC_STATUS.iter().position(|known| *known == name).and_then(|n| u32::try_from(n).ok())
}

pub fn cors(written: &CorsPolicy) -> Cors {
    let allow_origins = if written.allow_origins.is_empty() {
        written.allow_origin.iter().cloned().map(StringMatch::Exact).collect()
    } else {
        written.allow_origins.iter().filter_map(origin).collect()
    };
    Cors {
        allow_origins,
        allow_methods: written.allow_methods.clone(),
        allow_headers: written.allow_headers.clone(),
        expose_headers: written.expose_headers.clone(),
        max_age: written.max_age.map(Into::into),
        allow_credentials: written.allow_credentials,
        forward_not_matching_preflights: Some(written.unmatched_preflights != UnmatchedPreflights::Ignore),
    }
}

fn origin(written: &Written) -> Option<StringMatch> {
    match (&written.exact, &written.prefix, &written.regex) {
        (Some(exact), ..) => Some(StringMatch::Exact(exact.clone())),
        (_, Some(prefix), _) => Some(StringMatch::Prefix(prefix.clone())),
        (.., Some(regex)) => Some(StringMatch::Regex(regex.clone())),
        _ => None,
    }
}
