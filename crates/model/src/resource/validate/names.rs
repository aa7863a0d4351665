//! Names, addresses, ports, durations: the rules that many fields share. `Err` says what is wrong.

use super::report::Report;
use crate::resource::{Duration, Map};
use crate::yaml::Path;
use std::net::IpAddr;

type Rule = Result<(), String>;

/// A label of DNS (RFC 1123), in any case: letters, digits and `-`, at most 63.
pub(super) fn is_dns_label(name: &str) -> bool {
    let bytes = name.as_bytes();
    bytes.len() <= 63
        && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
}

pub(super) fn dns_label(name: &str) -> Rule {
    if is_dns_label(name) {
        return Ok(());
    }
    Err(format!("\"{name}\" is no DNS label: letters, digits and -, at most 63 of them"))
}

/// A full name without wildcards.
pub(super) fn fqdn(name: &str) -> Rule {
    length(name)?;
    dns_labels(name, name)
}

/// A full name whose first label may be `*`, `*x` or `*-x`.
pub(super) fn wildcard_domain(name: &str) -> Rule {
    length(name)?;
    let (first, rest) = name.split_once('.').map_or((name, None), |(first, rest)| (first, Some(rest)));
    let bare = first.strip_prefix("*-").or_else(|| first.strip_prefix('*')).unwrap_or(first);
    if first.len() > 63 || !(first == "*" || is_dns_label(bare)) {
        return Err(format!("host \"{name}\" is not valid: the label \"{first}\" is no DNS label"));
    }
    rest.map_or(Ok(()), |rest| dns_labels(rest, name))
}

fn length(name: &str) -> Rule {
    match name.len() {
        0 => Err("the host is empty".to_owned()),
        1..=255 => Ok(()),
        _ => Err("the host is longer than 255 characters".to_owned()),
    }
}

fn dns_labels(labels: &str, whole: &str) -> Rule {
    let mut labels = labels.split('.').peekable();
    while let Some(label) = labels.next() {
        let is_last = labels.peek().is_none();
        // A dot at the end makes a name unambiguous.
        if is_last && label.is_empty() {
            return Ok(());
        }
        if is_last && label.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!("host \"{whole}\" is not valid: its last label must not be a number"));
        }
        if !is_dns_label(label) {
            return Err(format!("host \"{whole}\" is not valid: \"{label}\" is no DNS label"));
        }
    }
    Ok(())
}

/// `*x.com` and `a*` where only `*` and `*.x.com` are good.
pub(super) fn no_partial_wildcard(host: &str) -> Rule {
    if host.contains('*') && host.len() != 1 && !host.starts_with("*.") {
        return Err(format!("\"{host}\": a wildcard stands for whole labels, as in *.example.com"));
    }
    Ok(())
}

/// A host of a Gateway's server or a Sidecar's egress listener, without its namespace.
pub(super) fn listener_host(host: &str, is_gateway: bool) -> Rule {
    if host != "*" && !host.contains('.') {
        return Err(format!("\"{host}\" is a short name; write the full one"));
    }
    if !(is_gateway && is_ip(host)) {
        wildcard_domain(host)?;
    }
    no_partial_wildcard(host)
}

pub(super) fn is_ip(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}

pub(super) fn ip(text: &str) -> Rule {
    if is_ip(text) { Ok(()) } else { Err(format!("\"{text}\" is no IP address")) }
}

/// An address, or a block as `10.0.0.0/8`.
pub(super) fn subnet(text: &str) -> Rule {
    let Some((address, bits)) = text.split_once('/') else { return ip(text) };
    let longest = match address.parse() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return Err(format!("\"{text}\" is no CIDR block")),
    };
    let plain = bits.bytes().all(|byte| byte.is_ascii_digit()) && (bits.len() == 1 || !bits.starts_with('0'));
    match bits.parse::<u8>() {
        Ok(bits) if plain && bits <= longest => Ok(()),
        _ => Err(format!("\"{text}\" is no CIDR block")),
    }
}

pub(super) fn port(number: impl Into<i64>) -> Rule {
    match number.into() {
        1..=65535 => Ok(()),
        number => Err(format!("port {number} is not from 1 to 65535")),
    }
}

/// The path of a Unix socket, without `unix://`.
pub(super) fn unix_path(path: &str) -> Rule {
    if path.starts_with('@') || (path.starts_with('/') && !path.ends_with('/')) {
        return Ok(());
    }
    Err("a Unix address is unix:///PATH/TO/SOCKET, or unix://@NAME".to_owned())
}

/// Durations of the mesh: a millisecond and more, in whole milliseconds.
pub(super) fn duration(report: &mut Report<'_>, at: &Path<'_>, name: &str, duration: Option<Duration>) {
    let Some(duration) = duration else { return };
    if duration.as_millis() == 0 {
        report.error(&at.key(name), "a duration must be 1ms or longer");
    } else if duration.subsec_nanos() % 1_000_000 != 0 {
        report.error(&at.key(name), "a duration is given in whole milliseconds at the finest");
    }
}

/// Labels as Kubernetes allows them.
pub(super) fn labels(report: &mut Report<'_>, at: &Path<'_>, labels: &Map) {
    for (key, value) in labels {
        let (prefix, name) = key.rsplit_once('/').map_or((None, key.as_str()), |(prefix, name)| (Some(prefix), name));
        let prefix_is_good = prefix.is_none_or(|prefix| prefix.len() <= 253 && prefix.split('.').all(is_dns_label));
        if !prefix_is_good || !is_label_word(name) {
            report.key_error(at, key, format!("\"{key}\" is no key of a label"));
        }
        if !value.is_empty() && !is_label_word(value) {
            report.error(&at.key(key), format!("\"{value}\" is no value of a label"));
        }
    }
}

fn is_label_word(word: &str) -> bool {
    let bytes = word.as_bytes();
    bytes.len() <= 63
        && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// Labels of a selector of workloads: no wildcards, no empty keys.
pub(super) fn selector(report: &mut Report<'_>, at: &Path<'_>, labels: &Map) {
    for (key, value) in labels {
        if key.is_empty() {
            report.error(at, "a selector has no empty keys");
        } else if key.contains('*') {
            report.key_error(at, key, "a selector knows no wildcards");
        } else if value.contains('*') {
            report.error(&at.key(key), "a selector knows no wildcards");
        } else if value.len() > 63 {
            report.error(&at.key(key), "a label's value has at most 63 characters");
        }
    }
}

/// Who else may use an object. `nobody`: whether `~` is allowed (ServiceEntry).
pub(super) fn export_to(report: &mut Report<'_>, at: &Path<'_>, namespace: &str, list: &[String], nobody: bool) {
    let at = at.key("exportTo");
    let meant = |entry: &'_ str| if entry == "." { namespace.to_owned() } else { entry.to_owned() };
    for (index, entry) in list.iter().enumerate() {
        let place = at.index(index);
        if list[..index].iter().any(|earlier| meant(earlier) == meant(entry)) {
            report.error(&place, format!("\"{entry}\" is there twice (. is the object's own namespace)"));
            continue;
        }
        match entry.as_str() {
            "." | "*" => {}
            "~" if nobody => {}
            "~" => report.error(&place, "only a ServiceEntry can be exported to nobody (~)"),
            namespace if is_dns_label(namespace) => {}
            _ => report.error(&place, format!("\"{entry}\" is neither . nor * nor the name of a namespace")),
        }
    }
    let alone = list.iter().position(|entry| matches!(entry.as_str(), "*" | "~"));
    if let Some(index) = alone.filter(|_| list.len() > 1) {
        report.error(&at.index(index), format!("\"{}\" stands alone, or not at all", list[index]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for good in ["a", "a.b", "a.b.", "*", "*.a.b", "*a.b", "*-a.b", "1.a", "A-1.b"] {
            assert_eq!(wildcard_domain(good), Ok(()), "{good}");
        }
        for bad in ["", "a..b", "a.*.b", "a*.b", "-a.b", "a_b", "a.1", "**", &"a.".repeat(130), &"a".repeat(64)] {
            assert!(wildcard_domain(bad).is_err(), "{bad}");
        }
        assert!(fqdn("*.a").is_err());
        assert!(fqdn("10.0.0.1").is_err());
        assert!(no_partial_wildcard("*a.b").is_err());
        assert!(listener_host("a", true).is_err());
        assert_eq!(listener_host("10.0.0.1", true), Ok(()));
        assert!(listener_host("10.0.0.1", false).is_err());
    }

    #[test]
    fn addresses() {
        for good in ["10.0.0.0/8", "10.0.0.1", "::1", "fd00::/64", "0.0.0.0/0"] {
            assert_eq!(subnet(good), Ok(()), "{good}");
        }
        for bad in
            ["", "10.0.0.0/33", "10.0.0/8", "::1/129", "10.0.0.0/", "10.0.0.0/+8", "10.0.0.0/08", "a/8", "1.2.3.4/8/8"]
        {
            assert!(subnet(bad).is_err(), "{bad}");
        }
        assert_eq!(unix_path("@abc"), Ok(()));
        assert!(unix_path("a/b").is_err());
        assert!(unix_path("/a/").is_err());
        assert!(unix_path("").is_err());
        assert!(port(0).is_err() && port(65536).is_err() && port(65535).is_ok());
    }
}
