//! Header value formats: text with `%COMMAND(argument):length%` in it, as Envoy's custom headers take them.

use super::table::CompileProblem;
use std::fmt;

/// A parsed format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Segment>);

/// A part of a format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    Text(String),
    Command(Command),
}

/// One `%NAME(argument):length%`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// `PROTOCOL`, `REQ`, `DOWNSTREAM_REMOTE_ADDRESS` …
    pub name: String,
    pub argument: Option<String>,
    /// At most so many bytes of the value.
    pub max_length: Option<usize>,
}

/// Commands that Envoy knows in header values. One outside this list makes Envoy refuse the configuration.
const KNOWN: &[&str] = &[
    "ACCESS_LOG_TYPE",
    "BYTES_RECEIVED",
    "BYTES_SENT",
    "CEL",
    "CLUSTER_METADATA",
    "COMMON_DURATION",
    "CONNECTION_ID",
    "CONNECTION_TERMINATION_DETAILS",
    "CUSTOM_FLAGS",
    "DOWNSTREAM_DIRECT_LOCAL_ADDRESS",
    "DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_DIRECT_LOCAL_PORT",
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS",
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_HEADER_BYTES_RECEIVED",
    "DOWNSTREAM_HEADER_BYTES_SENT",
    "DOWNSTREAM_LOCAL_ADDRESS",
    "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_LOCAL_DNS_SAN",
    "DOWNSTREAM_LOCAL_EMAIL_SAN",
    "DOWNSTREAM_LOCAL_IP_SAN",
    "DOWNSTREAM_LOCAL_PORT",
    "DOWNSTREAM_LOCAL_SUBJECT",
    "DOWNSTREAM_LOCAL_URI_SAN",
    "DOWNSTREAM_PEER_CERT",
    "DOWNSTREAM_PEER_CERT_V_END",
    "DOWNSTREAM_PEER_CERT_V_START",
    "DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1",
    "DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256",
    "DOWNSTREAM_PEER_CHAIN_SERIALS",
    "DOWNSTREAM_PEER_DNS_SAN",
    "DOWNSTREAM_PEER_EMAIL_SAN",
    "DOWNSTREAM_PEER_FINGERPRINT_1",
    "DOWNSTREAM_PEER_FINGERPRINT_256",
    "DOWNSTREAM_PEER_IP_SAN",
    "DOWNSTREAM_PEER_ISSUER",
    "DOWNSTREAM_PEER_SERIAL",
    "DOWNSTREAM_PEER_SUBJECT",
    "DOWNSTREAM_PEER_URI_SAN",
    "DOWNSTREAM_REMOTE_ADDRESS",
    "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_REMOTE_PORT",
    "DOWNSTREAM_TLS_CIPHER",
    "DOWNSTREAM_TLS_SESSION_ID",
    "DOWNSTREAM_TLS_VERSION",
    "DOWNSTREAM_TRANSPORT_FAILURE_REASON",
    "DOWNSTREAM_WIRE_BYTES_RECEIVED",
    "DOWNSTREAM_WIRE_BYTES_SENT",
    "DURATION",
    "DYNAMIC_METADATA",
    "EMIT_TIME",
    "ENVIRONMENT",
    "FILTER_CHAIN_NAME",
    "FILTER_STATE",
    "GRPC_STATUS",
    "GRPC_STATUS_NUMBER",
    "HOSTNAME",
    "METADATA",
    "PATH",
    "PROTOCOL",
    "QUERY_PARAM",
    "REQ",
    "REQUESTED_SERVER_NAME",
    "REQUEST_DURATION",
    "REQUEST_HEADERS_BYTES",
    "REQ_WITHOUT_QUERY",
    "RESP",
    "RESPONSE_CODE",
    "RESPONSE_CODE_DETAILS",
    "RESPONSE_DURATION",
    "RESPONSE_FLAGS",
    "RESPONSE_FLAGS_LONG",
    "RESPONSE_HEADERS_BYTES",
    "RESPONSE_TX_DURATION",
    "ROUTE_NAME",
    "START_TIME",
    "START_TIME_LOCAL",
    "STREAM_ID",
    "TLS_JA3_FINGERPRINT",
    "TLS_JA4_FINGERPRINT",
    "TRACE_ID",
    "TRAILER",
    "UNIQUE_ID",
    "UPSTREAM_CLUSTER",
    "UPSTREAM_CLUSTER_RAW",
    "UPSTREAM_CONNECTION_ID",
    "UPSTREAM_FILTER_STATE",
    "UPSTREAM_HEADER_BYTES_RECEIVED",
    "UPSTREAM_HEADER_BYTES_SENT",
    "UPSTREAM_HOST",
    "UPSTREAM_HOST_NAME",
    "UPSTREAM_HOST_NAME_WITHOUT_PORT",
    "UPSTREAM_LOCAL_ADDRESS",
    "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
    "UPSTREAM_LOCAL_PORT",
    "UPSTREAM_METADATA",
    "UPSTREAM_PEER_CERT",
    "UPSTREAM_PEER_DNS_SAN",
    "UPSTREAM_PEER_ISSUER",
    "UPSTREAM_PEER_SUBJECT",
    "UPSTREAM_PEER_URI_SAN",
    "UPSTREAM_PROTOCOL",
    "UPSTREAM_REMOTE_ADDRESS",
    "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
    "UPSTREAM_REMOTE_PORT",
    "UPSTREAM_REQUEST_ATTEMPT_COUNT",
    "UPSTREAM_TLS_CIPHER",
    "UPSTREAM_TLS_SESSION_ID",
    "UPSTREAM_TLS_VERSION",
    "UPSTREAM_TRANSPORT_FAILURE_REASON",
    "UPSTREAM_WIRE_BYTES_RECEIVED",
    "UPSTREAM_WIRE_BYTES_SENT",
    "VIRTUAL_CLUSTER_NAME",
];

impl Template {
    /// `%%` is a percent sign; an unknown command or an open one is an error.
    pub fn parse(text: &str) -> Result<Self, CompileProblem> {
        let (template, problems) = Self::parse_known(text);
        match problems.into_iter().next() {
            Some(problem) => Err(CompileProblem(format!("header value `{text}`: {problem}"))),
            None => Ok(template),
        }
    }

    /// What can be read of a format, and what is wrong in it: commands that Envoy does not know become `-`, other
    /// mistakes stay as they are written.
    pub fn parse_known(text: &str) -> (Self, Vec<String>) {
        let mut segments = Vec::new();
        let mut problems = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            literal.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('%') {
                literal.push('%');
                rest = after;
                continue;
            }
            match command(rest) {
                Ok((command, after)) => {
                    rest = after;
                    if !KNOWN.contains(&command.name.as_str()) {
                        problems.push(format!("%{}% is no command that Envoy knows", command.name));
                        literal.push('-');
                        continue;
                    }
                    if !literal.is_empty() {
                        segments.push(Segment::Text(std::mem::take(&mut literal)));
                    }
                    segments.push(Segment::Command(command));
                }
                Err(problem) => {
                    problems.push(problem);
                    literal.push('%');
                }
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            segments.push(Segment::Text(literal));
        }
        (Self(segments), problems)
    }

    /// Its parts in their order.
    pub fn into_segments(self) -> Vec<Segment> {
        self.0
    }

    /// The text, where no command is in it.
    pub fn literal(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Segment::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The value; a command that has none adds nothing.
    pub fn format(&self, value_of: &dyn Fn(&Command) -> Option<String>) -> String {
        let mut out = String::new();
        for segment in &self.0 {
            match segment {
                Segment::Text(text) => out.push_str(text),
                Segment::Command(command) => {
                    let value = value_of(command).unwrap_or_default();
                    let mut end = command.max_length.unwrap_or(value.len()).min(value.len());
                    while !value.is_char_boundary(end) {
                        end -= 1;
                    }
                    out.push_str(&value[..end]);
                }
            }
        }
        out
    }
}

/// A command behind its first percent sign, and what follows its last one.
fn command(text: &str) -> Result<(Command, &str), String> {
    let name_length = text.find(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'));
    let (name, mut after) = text.split_at(name_length.unwrap_or(text.len()));
    if name.is_empty() {
        return Err("a percent sign of its own is written %%".into());
    }
    let mut argument = None;
    if let Some(open) = after.strip_prefix('(') {
        let Some(close) = open.find(')') else { return Err(format!("`(` after {name} is not closed")) };
        argument = Some(open[..close].to_owned());
        after = &open[close + 1..];
    }
    let mut max_length = None;
    if let Some(digits) = after.strip_prefix(':') {
        let end = digits.find('%').unwrap_or(digits.len());
        let Ok(length) = digits[..end].parse() else {
            return Err(format!("`{}` after {name}: is no length", &digits[..end]));
        };
        max_length = Some(length);
        after = &digits[end..];
    }
    let Some(after) = after.strip_prefix('%') else { return Err(format!("%{name} is not closed by %")) };
    Ok((Command { name: name.to_owned(), argument, max_length }, after))
}

impl fmt::Display for Template {
    /// As it is written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.0 {
            match segment {
                Segment::Text(text) => f.write_str(&text.replace('%', "%%"))?,
                Segment::Command(Command { name, argument, max_length }) => {
                    write!(f, "%{name}")?;
                    if let Some(argument) = argument {
                        write!(f, "({argument})")?;
                    }
                    if let Some(length) = max_length {
                        write!(f, ":{length}")?;
                    }
                    f.write_str("%")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_text() {
        let template = Template::parse("a %PROTOCOL% 100%% %REQ(x-id?:path):3%.").unwrap();
        let value = template.format(&|command| match (command.name.as_str(), command.argument.as_deref()) {
            ("PROTOCOL", None) => Some("HTTP/1.1".into()),
            ("REQ", Some("x-id?:path")) => Some("abcdef".into()),
            _ => None,
        });
        assert_eq!(value, "a HTTP/1.1 100% abc.");
        assert_eq!(Template::parse("plain").unwrap().literal(), Some("plain"));
        assert_eq!(Template::parse("").unwrap().literal(), Some(""));
    }

    #[test]
    fn mistakes_are_named() {
        for bad in ["50%", "%NO_SUCH%", "%REQ(x", "%REQ(x):y%", "%PROTOCOL"] {
            assert!(Template::parse(bad).is_err(), "{bad} was accepted");
        }
    }
}
