//! Values of the commands in header formats (`%PROTOCOL%`, `%REQ(x-id)%` …), for `route::edits`.

use super::exchange::Exchange;
use super::prepare::Prepared;
use amime_model::route::template::Command;
use http::HeaderMap;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::SystemTime;

/// What a command can see.
pub(crate) struct Values<'a> {
    pub(crate) exchange: &'a Exchange,
    /// The request's headers; None while they are what is edited.
    pub(crate) request: Option<&'a HeaderMap>,
    pub(crate) method: &'a str,
    pub(crate) authority: &'a str,
    pub(crate) path: &'a str,
    pub(crate) route: &'a str,
    pub(crate) cluster: &'a str,
    pub(crate) upstream: Option<SocketAddr>,
    /// The response's, once there is one.
    pub(crate) status: Option<u16>,
}

impl<'a> Values<'a> {
    /// Of a request that a route took; `request` and `upstream` are not known, and there is no response.
    pub(crate) fn new(exchange: &'a Exchange, prepared: &'a Prepared, route: &'a str, cluster: &'a str) -> Self {
        Self {
            exchange,
            request: None,
            method: prepared.method.as_str(),
            authority: prepared.authority.to_str().unwrap_or(""),
            path: prepared.path.as_str(),
            route,
            cluster,
            upstream: None,
            status: None,
        }
    }

    /// None: the command has no value here. `edited` are the headers being edited, as they are now.
    pub(crate) fn of(&self, command: &Command, edited: &HeaderMap) -> Option<String> {
        let conn = &self.exchange.conn;
        let argument = command.argument.as_deref();
        Some(match command.name.as_str() {
            "PROTOCOL" => self.exchange.protocol.to_string(),
            "DOWNSTREAM_REMOTE_ADDRESS" => self.exchange.remote.get().to_string(),
            "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT" => self.exchange.remote.get().ip().to_string(),
            "DOWNSTREAM_REMOTE_PORT" => self.exchange.remote.get().port().to_string(),
            "DOWNSTREAM_DIRECT_REMOTE_ADDRESS" => conn.ends.direct.to_string(),
            "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT" => conn.ends.direct.ip().to_string(),
            "DOWNSTREAM_DIRECT_REMOTE_PORT" => conn.ends.direct.port().to_string(),
            "DOWNSTREAM_LOCAL_ADDRESS" | "DOWNSTREAM_DIRECT_LOCAL_ADDRESS" => conn.ends.local.to_string(),
            "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT" => conn.ends.local.ip().to_string(),
            "DOWNSTREAM_LOCAL_PORT" => conn.ends.local.port().to_string(),
            "REQ" => {
                let headers = self.request.unwrap_or(edited);
                first_of(argument?, |name| self.request_header(name, headers))?
            }
            "RESP" => {
                self.status?;
                first_of(argument?, |name| text_of(edited, name))?
            }
            "PATH" => self.path.to_owned(),
            "QUERY_PARAM" => self.path.split_once('?')?.1.split('&').find_map(|pair| {
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                (Some(key) == argument).then(|| value.to_owned())
            })?,
            "ROUTE_NAME" => non_empty(self.route)?,
            "UPSTREAM_CLUSTER" | "UPSTREAM_CLUSTER_RAW" => non_empty(self.cluster)?,
            "UPSTREAM_HOST" | "UPSTREAM_REMOTE_ADDRESS" => self.upstream?.to_string(),
            "UPSTREAM_REQUEST_ATTEMPT_COUNT" => self.exchange.attempts.get().to_string(),
            "RESPONSE_CODE" => self.status?.to_string(),
            "RESPONSE_FLAGS" => self.exchange.flags.get().to_string(),
            "RESPONSE_CODE_DETAILS" => non_empty(self.exchange.details.get())?,
            "BYTES_RECEIVED" => self.exchange.received.get().to_string(),
            "BYTES_SENT" => self.exchange.sent.get().to_string(),
            "DURATION" => self.exchange.started.elapsed().as_millis().to_string(),
            "FILTER_CHAIN_NAME" => non_empty(&conn.chain.chain.name)?,
            "START_TIME" => time_text(SystemTime::now() - self.exchange.started.elapsed(), argument),
            "HOSTNAME" => hostname()?.to_owned(),
            "ENVIRONMENT" => environment(argument?)?.to_owned(),
            _ => return None,
        })
    }

    fn request_header(&self, name: &str, headers: &HeaderMap) -> Option<String> {
        match name.to_ascii_lowercase().as_str() {
            ":method" => Some(self.method.to_owned()),
            ":authority" | "host" => Some(self.authority.to_owned()),
            ":path" => Some(self.path.to_owned()),
            ":scheme" => text_of(headers, "x-forwarded-proto"),
            name => text_of(headers, name),
        }
    }
}

/// The machine's, as it was when first asked for.
fn hostname() -> Option<&'static str> {
    static HOSTNAME: LazyLock<Option<String>> =
        LazyLock::new(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok());
    HOSTNAME.as_deref().map(str::trim)
}

/// A variable of the process, as it was when one was first asked for.
fn environment(name: &str) -> Option<&'static str> {
    static ENVIRONMENT: LazyLock<HashMap<OsString, OsString>> = LazyLock::new(|| std::env::vars_os().collect());
    ENVIRONMENT.get(OsStr::new(name))?.to_str()
}

/// `X?Y`: X, or Y where there is no X.
fn first_of(argument: &str, value: impl Fn(&str) -> Option<String>) -> Option<String> {
    argument.split('?').find_map(value)
}

fn text_of(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

fn non_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// A moment in UTC. Without a format, `2026-11-22T10:15:30.123Z`; of strftime's letters those that users write.
pub(crate) fn time_text(at: SystemTime, format: Option<&str>) -> String {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (seconds, nanos) = (since.as_secs(), since.subsec_nanos());
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let Some(format) = format.filter(|f| !f.is_empty()) else {
        let millis = nanos / 1_000_000;
        return format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z");
    };
    let mut out = String::new();
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('Y') => out.push_str(&format!("{year:04}")),
            Some('m') => out.push_str(&format!("{month:02}")),
            Some('d') => out.push_str(&format!("{day:02}")),
            Some('H') => out.push_str(&format!("{hour:02}")),
            Some('M') => out.push_str(&format!("{minute:02}")),
            Some('S') => out.push_str(&format!("{second:02}")),
            Some('F') => out.push_str(&format!("{year:04}-{month:02}-{day:02}")),
            Some('T') => out.push_str(&format!("{hour:02}:{minute:02}:{second:02}")),
            Some('s') => out.push_str(&seconds.to_string()),
            Some('f') => out.push_str(&format!("{nanos:09}")),
            Some(digits @ '1'..='9') if chars.peek() == Some(&'f') => {
                chars.next();
                let keep = digits as usize - '0' as usize;
                out.push_str(&format!("{nanos:09}")[..keep]);
            }
            Some('%') => out.push('%'),
            Some(other) => out.extend(['%', other]),
            None => out.push('%'),
        }
    }
    out
}

/// The date of a day since 1970 (Howard Hinnant's algorithm for the proleptic Gregorian calendar).
fn civil(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let era = z / 146_097;
    let of_era = z % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let mp = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_does_not_change_is_read_once() {
        let path = environment("PATH").unwrap();
        assert_eq!(path, std::env::var("PATH").unwrap());
        assert!(std::ptr::eq(path, environment("PATH").unwrap()));
        assert_eq!(environment("AMIME_NO_SUCH_VARIABLE"), None);
        assert!(std::ptr::eq(hostname().unwrap(), hostname().unwrap()));
    }

    #[test]
    fn moments() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_709_210_096_789);
        assert_eq!(time_text(at, None), "2024-02-29T12:34:56.789Z");
        assert_eq!(time_text(at, Some("%s.%3f %F %%")), "1709210096.789 2024-02-29 %");
        assert_eq!(time_text(SystemTime::UNIX_EPOCH, Some("%Y%m%dT%H%M%S%Q")), "19700101T000000%Q");
    }
}
