//! Envoy's command operators: which value each of them prints.

use super::entry::Entry;
use super::kept::Source;
use crate::http::format::time_text;
use amime_model::route::template::Command;
use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;

/// A command, ready to be asked.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operator {
    StartTime(Option<String>),
    /// A header by its place among what is kept; the second where there is no first.
    Header {
        first: usize,
        second: Option<usize>,
        without_query: bool,
    },
    Protocol,
    Status,
    Flags,
    FlagsLong,
    Details,
    TransportFailure,
    Received,
    Sent,
    RequestHead,
    ResponseHead,
    Duration,
    RequestDuration,
    ResponseDuration,
    ResponseTxDuration,
    Attempts,
    Address(End, Part),
    UpstreamName,
    Cluster,
    ServerName,
    Route,
    Chain,
    GrpcStatus,
    GrpcNumber,
    /// The same for every entry: the host's name, a variable of the environment.
    Fixed(String),
    /// What this proxy never has: certificates, dynamic metadata …
    Nothing,
}

/// Whose address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// That was chosen, reached or not.
    UpstreamHost,
    UpstreamRemote,
    UpstreamLocal,
    DownstreamRemote,
    /// The socket's peer, whatever a PROXY header or `x-forwarded-for` says.
    DownstreamDirect,
    DownstreamLocal,
}

/// What of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Whole,
    Ip,
    Port,
}

impl Operator {
    pub(super) fn of(command: &Command, sources: &mut Vec<Source>) -> Self {
        let argument = command.argument.as_deref();
        match command.name.as_str() {
            "START_TIME" => Self::StartTime(argument.filter(|format| !format.is_empty()).map(str::to_owned)),
            "REQ" => header(argument, Source::of_request, false, sources),
            "REQ_WITHOUT_QUERY" => header(argument, Source::of_request, true, sources),
            "RESP" => header(argument, Source::of_response, false, sources),
            "TRAILER" => header(argument, Source::of_trailer, false, sources),
            "PROTOCOL" => Self::Protocol,
            "RESPONSE_CODE" => Self::Status,
            "RESPONSE_FLAGS" => Self::Flags,
            "RESPONSE_FLAGS_LONG" => Self::FlagsLong,
            "RESPONSE_CODE_DETAILS" => Self::Details,
            "UPSTREAM_TRANSPORT_FAILURE_REASON" => Self::TransportFailure,
            "BYTES_RECEIVED" => Self::Received,
            "BYTES_SENT" => Self::Sent,
            "REQUEST_HEADERS_BYTES" => Self::RequestHead,
            "RESPONSE_HEADERS_BYTES" => Self::ResponseHead,
            "DURATION" => Self::Duration,
            "REQUEST_DURATION" => Self::RequestDuration,
            "RESPONSE_DURATION" => Self::ResponseDuration,
            "RESPONSE_TX_DURATION" => Self::ResponseTxDuration,
            "UPSTREAM_REQUEST_ATTEMPT_COUNT" => Self::Attempts,
            "UPSTREAM_HOST" => Self::Address(End::UpstreamHost, Part::Whole),
            "UPSTREAM_REMOTE_ADDRESS" => Self::Address(End::UpstreamRemote, Part::Whole),
            "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT" => Self::Address(End::UpstreamRemote, Part::Ip),
            "UPSTREAM_REMOTE_PORT" => Self::Address(End::UpstreamRemote, Part::Port),
            "UPSTREAM_HOST_NAME" => Self::UpstreamName,
            "UPSTREAM_LOCAL_ADDRESS" => Self::Address(End::UpstreamLocal, Part::Whole),
            "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT" => Self::Address(End::UpstreamLocal, Part::Ip),
            "UPSTREAM_LOCAL_PORT" => Self::Address(End::UpstreamLocal, Part::Port),
            "UPSTREAM_CLUSTER" | "UPSTREAM_CLUSTER_RAW" => Self::Cluster,
            "DOWNSTREAM_LOCAL_ADDRESS" | "DOWNSTREAM_DIRECT_LOCAL_ADDRESS" => {
                Self::Address(End::DownstreamLocal, Part::Whole)
            }
            "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT" | "DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT" => {
                Self::Address(End::DownstreamLocal, Part::Ip)
            }
            "DOWNSTREAM_LOCAL_PORT" | "DOWNSTREAM_DIRECT_LOCAL_PORT" => Self::Address(End::DownstreamLocal, Part::Port),
            "DOWNSTREAM_REMOTE_ADDRESS" => Self::Address(End::DownstreamRemote, Part::Whole),
            "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT" => Self::Address(End::DownstreamRemote, Part::Ip),
            "DOWNSTREAM_REMOTE_PORT" => Self::Address(End::DownstreamRemote, Part::Port),
            "DOWNSTREAM_DIRECT_REMOTE_ADDRESS" => Self::Address(End::DownstreamDirect, Part::Whole),
            "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT" => Self::Address(End::DownstreamDirect, Part::Ip),
            "DOWNSTREAM_DIRECT_REMOTE_PORT" => Self::Address(End::DownstreamDirect, Part::Port),
            "REQUESTED_SERVER_NAME" => Self::ServerName,
            "ROUTE_NAME" => Self::Route,
            "FILTER_CHAIN_NAME" => Self::Chain,
            "GRPC_STATUS" => Self::GrpcStatus,
            "GRPC_STATUS_NUMBER" => Self::GrpcNumber,
            "HOSTNAME" => fixed(std::fs::read_to_string("/proc/sys/kernel/hostname").ok()),
            "ENVIRONMENT" => fixed(argument.and_then(|name| std::env::var(name).ok())),
            _ => Self::Nothing,
        }
    }

    /// Whether JSON has its value as a number.
    pub(super) fn is_number(&self) -> bool {
        matches!(
            self,
            Self::Status
                | Self::Received
                | Self::Sent
                | Self::RequestHead
                | Self::ResponseHead
                | Self::Duration
                | Self::RequestDuration
                | Self::ResponseDuration
                | Self::ResponseTxDuration
                | Self::Attempts
                | Self::GrpcNumber
                | Self::Address(_, Part::Port)
        )
    }

    /// Appends the value. None: there is none.
    pub(super) fn write(&self, entry: &Entry<'_>, out: &mut String) -> Option<()> {
        let between = |from: Option<Duration>, to: Option<Duration>| to?.checked_sub(from?);
        match self {
            Self::StartTime(format) => out.push_str(&time_text(entry.started, format.as_deref())),
            Self::Header { first, second, without_query } => {
                let kept = entry.kept?;
                let value = kept.get(*first).or_else(|| kept.get((*second)?))?;
                let value = if *without_query { value.split('?').next().unwrap_or(value) } else { value };
                out.push_str(value);
            }
            Self::Protocol => write(out, entry.protocol?),
            Self::Status => write(out, entry.status),
            Self::Flags => write(out, entry.flags),
            Self::FlagsLong => return text(out, &entry.flags.long()),
            Self::Details => return one_word(out, entry.details),
            Self::TransportFailure => return one_word(out, entry.transport_failure),
            Self::Received => write(out, entry.received),
            Self::Sent => write(out, entry.sent),
            Self::RequestHead => write(out, entry.request_head),
            Self::ResponseHead => write(out, entry.response_head),
            Self::Duration => write(out, entry.duration.as_millis()),
            Self::RequestDuration => write(out, entry.request_duration?.as_millis()),
            Self::ResponseDuration => write(out, entry.response_duration?.as_millis()),
            Self::ResponseTxDuration => {
                write(out, between(entry.response_duration, Some(entry.duration))?.as_millis());
            }
            Self::Attempts => write(out, entry.attempts),
            Self::Address(End::UpstreamHost | End::UpstreamRemote, _) if !entry.upstream_pipe.is_empty() => {
                out.push_str(entry.upstream_pipe);
            }
            Self::Address(end, part) => return address(out, end.of(entry)?, *part),
            Self::UpstreamName => match text(out, entry.upstream_name) {
                Some(()) => {}
                None if !entry.upstream_pipe.is_empty() => out.push_str(entry.upstream_pipe),
                None => return address(out, entry.upstream?, Part::Whole),
            },
            Self::Cluster => return text(out, entry.cluster),
            Self::ServerName => return text(out, entry.server_name),
            Self::Route => return text(out, entry.route),
            Self::Chain => return text(out, entry.chain),
            Self::GrpcStatus => match GRPC.get(entry.grpc_status? as usize) {
                Some(name) => out.push_str(name),
                None => write(out, entry.grpc_status?),
            },
            Self::GrpcNumber => write(out, entry.grpc_status?),
            Self::Fixed(value) => out.push_str(value),
            Self::Nothing => return None,
        }
        Some(())
    }
}

/// gRPC's status codes as Envoy names them.
const GRPC: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

impl End {
    fn of(self, entry: &Entry<'_>) -> Option<SocketAddr> {
        match self {
            Self::UpstreamHost => entry.upstream,
            Self::UpstreamRemote => entry.upstream_local.and(entry.upstream),
            Self::UpstreamLocal => entry.upstream_local,
            Self::DownstreamRemote => Some(entry.downstream.remote),
            Self::DownstreamDirect => Some(entry.downstream.direct),
            Self::DownstreamLocal => Some(entry.downstream.local),
        }
    }
}

fn address(out: &mut String, address: SocketAddr, part: Part) -> Option<()> {
    match part {
        Part::Whole => write(out, address),
        Part::Ip => write(out, address.ip()),
        Part::Port => write(out, address.port()),
    }
    Some(())
}

fn text(out: &mut String, value: &str) -> Option<()> {
    out.push_str(Some(value).filter(|value| !value.is_empty())?);
    Some(())
}

/// Envoy puts these together, so that a line can be cut at its spaces.
fn one_word(out: &mut String, value: &str) -> Option<()> {
    let value = Some(value).filter(|value| !value.is_empty())?;
    out.extend(value.chars().map(|c| if c == ' ' { '_' } else { c }));
    Some(())
}

fn write(out: &mut String, value: impl std::fmt::Display) {
    // Writing to a string does not fail.
    let _ = write!(out, "{value}");
}

fn fixed(value: Option<String>) -> Operator {
    let value = value.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
    value.map_or(Operator::Nothing, Operator::Fixed)
}

/// `X?Y`: X, or Y where there is no X.
fn header(
    argument: Option<&str>,
    source: fn(&str) -> Source,
    without_query: bool,
    sources: &mut Vec<Source>,
) -> Operator {
    let Some(argument) = argument else { return Operator::Nothing };
    let mut place = |name: &str| {
        let source = source(name);
        sources.iter().position(|known| *known == source).unwrap_or_else(|| {
            sources.push(source);
            sources.len() - 1
        })
    };
    let (first, second) = argument.split_once('?').map_or((argument, None), |(first, second)| (first, Some(second)));
    Operator::Header { first: place(first), second: second.map(&mut place), without_query }
}
