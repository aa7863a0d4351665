//! What several conversions need: wrappers, durations, addresses, strings and shares.

use super::order;
use crate::decode::DecodeError;
use amime_model::config::{Opaque, PerMillion, StringMatch};
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::r#type::matcher::v3 as matcher;
use envoy_types::pb::envoy::r#type::v3 as kind;
use envoy_types::pb::google::protobuf as wkt;
use prost::{Message, Name};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// What went wrong in a field, for [`DecodeError::Field`].
pub(crate) fn field(field: impl Into<String>, problem: impl Into<String>) -> DecodeError {
    DecodeError::Field { field: field.into(), problem: problem.into() }
}

pub(crate) fn u32_value(value: Option<u32>) -> Option<wkt::UInt32Value> {
    value.map(|value| wkt::UInt32Value { value })
}

pub(crate) fn u64_value(value: Option<u64>) -> Option<wkt::UInt64Value> {
    value.map(|value| wkt::UInt64Value { value })
}

pub(crate) fn bool_value(value: Option<bool>) -> Option<wkt::BoolValue> {
    value.map(|value| wkt::BoolValue { value })
}

/// True as a set wrapper, false as an absent one.
pub(crate) fn set_if(value: bool) -> Option<wkt::BoolValue> {
    bool_value(value.then_some(true))
}

pub(crate) fn is_true(value: Option<wkt::BoolValue>) -> bool {
    value.is_some_and(|v| v.value)
}

pub(crate) fn duration(value: Option<Duration>) -> Option<wkt::Duration> {
    value.map(|value| wkt::Duration {
        // Protobuf's own limit is 10,000 years.
        seconds: i64::try_from(value.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(value.subsec_nanos()).unwrap_or_default(),
    })
}

/// A negative duration, which Envoy refuses, reads as zero.
pub(crate) fn from_duration(value: Option<wkt::Duration>) -> Option<Duration> {
    value.map(|value| {
        let seconds = u64::try_from(value.seconds).unwrap_or_default();
        let nanos = u32::try_from(value.nanos).unwrap_or_default();
        Duration::from_secs(seconds).saturating_add(Duration::from_nanos(nanos.into()))
    })
}

/// None for the empty string.
pub(crate) fn non_empty(value: String) -> Option<String> {
    Some(value).filter(|v| !v.is_empty())
}

/// Packs a message; maps in it are written in order.
pub(crate) fn any<T: Message + Name>(message: &T) -> wkt::Any {
    let mut value = message.encode_to_vec();
    order::sort_maps(T::NAME, &mut value);
    wkt::Any { type_url: T::type_url(), value }
}

/// Unpacks a message where `any` holds one of that type.
pub(crate) fn unpack<T: Message + Name + Default>(any: &wkt::Any) -> Option<Result<T, DecodeError>> {
    (any.type_url == T::type_url())
        .then(|| T::decode(any.value.as_slice()).map_err(|e| DecodeError::Protobuf(e.to_string())))
}

pub(crate) fn opaque(name: impl Into<String>, any: wkt::Any) -> Opaque {
    Opaque { name: name.into(), type_url: any.type_url, bytes: any.value }
}

pub(crate) fn opaque_any(opaque: &Opaque) -> wkt::Any {
    wkt::Any { type_url: opaque.type_url.clone(), value: opaque.bytes.clone() }
}

/// Something that is not understood, kept whole.
pub(crate) fn opaque_message<T: Message + Name>(name: impl Into<String>, message: &T) -> Opaque {
    opaque(name, any(message))
}

pub(crate) fn socket_address(host: String, port: u16) -> core::Address {
    core::Address {
        address: Some(core::address::Address::SocketAddress(core::SocketAddress {
            address: host,
            port_specifier: Some(core::socket_address::PortSpecifier::PortValue(port.into())),
            ..Default::default()
        })),
    }
}

pub(crate) fn address(address: SocketAddr) -> core::Address {
    socket_address(address.ip().to_string(), address.port())
}

/// Host and port of a TCP socket address.
pub(crate) fn host_port(address: &core::SocketAddress, at: &str) -> Result<(String, u16), DecodeError> {
    if address.protocol != core::socket_address::Protocol::Tcp as i32 {
        return Err(field(at, "only TCP is understood"));
    }
    let port = match &address.port_specifier {
        Some(core::socket_address::PortSpecifier::PortValue(port)) => *port,
        None => 0,
        Some(core::socket_address::PortSpecifier::NamedPort(name)) => {
            return Err(field(at, format!("the port {name} is a name")));
        }
    };
    let port = u16::try_from(port).map_err(|_| field(at, format!("{port} is not a port")))?;
    Ok((address.address.clone(), port))
}

/// An address that has to be an IP address with a port.
pub(crate) fn from_address(address: Option<core::Address>, at: &str) -> Result<SocketAddr, DecodeError> {
    match address.and_then(|a| a.address) {
        Some(core::address::Address::SocketAddress(socket)) => {
            let (host, port) = host_port(&socket, at)?;
            let ip: IpAddr = host.parse().map_err(|_| field(at, format!("{host:?} is not an IP address")))?;
            Ok(SocketAddr::new(ip, port))
        }
        Some(_) => Err(field(at, "only socket addresses are understood")),
        None => Err(field(at, "missing")),
    }
}

/// Of this same stream.
pub(crate) fn ads() -> Option<core::ConfigSource> {
    Some(core::ConfigSource {
        resource_api_version: core::ApiVersion::V3 as i32,
        config_source_specifier: Some(core::config_source::ConfigSourceSpecifier::Ads(core::AggregatedConfigSource {})),
        ..Default::default()
    })
}

pub(crate) fn share(value: PerMillion) -> kind::FractionalPercent {
    kind::FractionalPercent {
        numerator: value.0,
        denominator: kind::fractional_percent::DenominatorType::Million as i32,
    }
}

pub(crate) fn from_share(value: &kind::FractionalPercent) -> PerMillion {
    use kind::fractional_percent::DenominatorType;
    let factor = match value.denominator() {
        DenominatorType::Hundred => 10_000,
        DenominatorType::TenThousand => 100,
        DenominatorType::Million => 1,
    };
    PerMillion(value.numerator.saturating_mul(factor).min(PerMillion::ALL.0))
}

/// An absent share is all.
pub(crate) fn from_runtime_share(value: Option<core::RuntimeFractionalPercent>) -> PerMillion {
    value.and_then(|v| v.default_value).map_or(PerMillion::ALL, |v| from_share(&v))
}

pub(crate) fn runtime_share(value: PerMillion) -> core::RuntimeFractionalPercent {
    core::RuntimeFractionalPercent { default_value: Some(share(value)), ..Default::default() }
}

pub(crate) fn regex(regex: &str) -> matcher::RegexMatcher {
    matcher::RegexMatcher { regex: regex.into(), ..Default::default() }
}

pub(crate) fn string_matcher(value: &StringMatch, ignore_case: bool) -> matcher::StringMatcher {
    use matcher::string_matcher::MatchPattern;
    let pattern = match value {
        StringMatch::Exact(v) => MatchPattern::Exact(v.clone()),
        StringMatch::Prefix(v) => MatchPattern::Prefix(v.clone()),
        StringMatch::Suffix(v) => MatchPattern::Suffix(v.clone()),
        StringMatch::Contains(v) => MatchPattern::Contains(v.clone()),
        StringMatch::Regex(v) => MatchPattern::SafeRegex(regex(v)),
    };
    matcher::StringMatcher { ignore_case, match_pattern: Some(pattern) }
}

/// None for a matcher that is not understood.
pub(crate) fn from_string_matcher(value: matcher::StringMatcher) -> Option<(StringMatch, bool)> {
    use matcher::string_matcher::MatchPattern;
    let pattern = match value.match_pattern? {
        MatchPattern::Exact(v) => StringMatch::Exact(v),
        MatchPattern::Prefix(v) => StringMatch::Prefix(v),
        MatchPattern::Suffix(v) => StringMatch::Suffix(v),
        MatchPattern::Contains(v) => StringMatch::Contains(v),
        MatchPattern::SafeRegex(v) => StringMatch::Regex(v.regex),
        MatchPattern::Custom(_) => return None,
    };
    Some((pattern, value.ignore_case))
}

pub(crate) fn bytes_source(bytes: &[u8]) -> Option<core::DataSource> {
    (!bytes.is_empty()).then(|| core::DataSource {
        specifier: Some(core::data_source::Specifier::InlineBytes(bytes.to_vec())),
        ..Default::default()
    })
}

/// Inline data; what lies in a file or in the environment is not read.
pub(crate) fn from_source(source: Option<core::DataSource>, at: &str) -> Result<Vec<u8>, DecodeError> {
    use core::data_source::Specifier;
    match source.and_then(|s| s.specifier) {
        None => Ok(Vec::new()),
        Some(Specifier::InlineBytes(bytes)) => Ok(bytes),
        Some(Specifier::InlineString(text)) => Ok(text.into_bytes()),
        Some(Specifier::Filename(_) | Specifier::EnvironmentVariable(_)) => {
            Err(field(at, "only inline data is understood"))
        }
    }
}
