//! Whether one compiled match takes a request, and, since it is the same code, why not.

use super::regex::Regex;
use super::request::{RequestView, within};
use super::table::CompileProblem;
use crate::config::{HeaderMatch, PathMatch, PerMillion, QueryMatch, RouteMatch, StringMatch, ValueMatch};
use std::fmt;

/// A `config::RouteMatch`, with its regexes compiled.
#[derive(Debug)]
pub struct Matcher {
    path: Path,
    /// Path text is compared without case.
    ignore_case: bool,
    headers: Vec<(HeaderMatch, Value)>,
    query: Vec<(QueryMatch, Value)>,
    fraction: Option<PerMillion>,
    grpc_only: bool,
}

#[derive(Debug)]
enum Path {
    Prefix(String),
    Exact(String),
    SegmentPrefix(String),
    Regex(Regex),
    Connect,
}

#[derive(Debug)]
enum Value {
    Present,
    Text { value: Text, ignore_case: bool },
}

/// A `config::StringMatch`, compiled.
#[derive(Debug)]
pub enum Text {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Contains(String),
    Regex(Regex),
}

/// The first thing about a match that a request lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Miss<'t> {
    Path(&'t str),
    Method,
    Header(&'t HeaderMatch),
    Query(&'t QueryMatch),
    /// The draw fell outside the share of requests that the route takes.
    Fraction(PerMillion),
    NotGrpc,
}

impl fmt::Display for Miss<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(wanted) => write!(f, "the path is not {wanted}"),
            Self::Method => write!(f, "the method is not CONNECT"),
            Self::Header(header) if header.matches == ValueMatch::Present && header.invert => {
                write!(f, "header {} is there", header.name)
            }
            Self::Header(header) if header.matches == ValueMatch::Present => {
                write!(f, "header {} is absent", header.name)
            }
            Self::Header(header) if header.invert => write!(f, "header {} is {}", header.name, header.matches),
            Self::Header(header) => write!(f, "header {} is not {}", header.name, header.matches),
            Self::Query(query) if query.matches == ValueMatch::Present => {
                write!(f, "query parameter {} is absent", query.name)
            }
            Self::Query(query) => write!(f, "query parameter {} is not {}", query.name, query.matches),
            Self::Fraction(share) => write!(f, "it takes {} % of the requests", share.percent()),
            Self::NotGrpc => write!(f, "the request is not gRPC"),
        }
    }
}

impl fmt::Display for ValueMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::String { value, .. } = self else { return write!(f, "present") };
        match value {
            StringMatch::Exact(text) => write!(f, "`{text}`"),
            StringMatch::Prefix(text) => write!(f, "prefix `{text}`"),
            StringMatch::Suffix(text) => write!(f, "suffix `{text}`"),
            StringMatch::Contains(text) => write!(f, "containing `{text}`"),
            StringMatch::Regex(text) => write!(f, "regex `{text}`"),
        }
    }
}

impl Matcher {
    pub(super) fn compile(matches: &RouteMatch) -> Result<Self, CompileProblem> {
        let path = match &matches.path {
            PathMatch::Prefix(text) => Path::Prefix(text.clone()),
            PathMatch::Exact(text) => Path::Exact(text.clone()),
            PathMatch::SegmentPrefix(text) => Path::SegmentPrefix(text.trim_end_matches('/').to_owned()),
            PathMatch::Regex(text) => Path::Regex(Regex::new(text)?),
            PathMatch::Connect => Path::Connect,
        };
        let mut headers = Vec::with_capacity(matches.headers.len());
        for header in &matches.headers {
            headers.push((header.clone(), Value::compile(&header.matches)?));
        }
        let mut query = Vec::with_capacity(matches.query.len());
        for parameter in &matches.query {
            query.push((parameter.clone(), Value::compile(&parameter.matches)?));
        }
        Ok(Self {
            path,
            ignore_case: matches.ignore_case,
            headers,
            query,
            fraction: matches.fraction,
            grpc_only: matches.grpc_only,
        })
    }

    /// Ok where everything holds.
    pub fn check(&self, request: &RequestView<'_>, fraction_draw: u32) -> Result<(), Miss<'_>> {
        self.check_path(request)?;
        for (header, value) in &self.headers {
            if !header_holds(header, value, request) {
                return Err(Miss::Header(header));
            }
        }
        for (parameter, value) in &self.query {
            let holds = request.query_parameter(&parameter.name).is_some_and(|found| value.holds(found));
            if !holds {
                return Err(Miss::Query(parameter));
            }
        }
        if self.grpc_only && !is_grpc(request) {
            return Err(Miss::NotGrpc);
        }
        match self.fraction {
            Some(share) if !within(fraction_draw, share) => Err(Miss::Fraction(share)),
            _ => Ok(()),
        }
    }

    fn check_path(&self, request: &RequestView<'_>) -> Result<(), Miss<'_>> {
        let path = request.path_only();
        let (holds, wanted) = match &self.path {
            Path::Prefix(wanted) => (starts_with(path, wanted, self.ignore_case), wanted.as_str()),
            Path::Exact(wanted) => (equals(path, wanted, self.ignore_case), wanted.as_str()),
            Path::SegmentPrefix(wanted) => {
                let holds = starts_with(path, wanted, self.ignore_case)
                    && matches!(path.as_bytes().get(wanted.len()), None | Some(b'/'));
                (holds, wanted.as_str())
            }
            Path::Regex(regex) => (regex.is_match(path), regex.source()),
            Path::Connect => return if request.method == "CONNECT" { Ok(()) } else { Err(Miss::Method) },
        };
        if holds { Ok(()) } else { Err(Miss::Path(wanted)) }
    }

    /// How many bytes of the path the match took: what a prefix rewrite replaces. All of it but for prefixes.
    pub fn matched_length(&self, path: &str) -> usize {
        match &self.path {
            Path::Prefix(prefix) | Path::SegmentPrefix(prefix) => prefix.len().min(path.len()),
            Path::Exact(_) | Path::Regex(_) | Path::Connect => path.len(),
        }
    }
}

impl Value {
    fn compile(matches: &ValueMatch) -> Result<Self, CompileProblem> {
        Ok(match matches {
            ValueMatch::Present => Self::Present,
            ValueMatch::String { value, ignore_case } => {
                Self::Text { value: Text::compile(value)?, ignore_case: *ignore_case }
            }
        })
    }

    fn holds(&self, found: &str) -> bool {
        match self {
            Self::Present => true,
            Self::Text { value, ignore_case } => value.holds(found, *ignore_case),
        }
    }
}

impl Text {
    pub(super) fn compile(matches: &StringMatch) -> Result<Self, CompileProblem> {
        Ok(match matches {
            StringMatch::Exact(text) => Self::Exact(text.clone()),
            StringMatch::Prefix(text) => Self::Prefix(text.clone()),
            StringMatch::Suffix(text) => Self::Suffix(text.clone()),
            StringMatch::Contains(text) => Self::Contains(text.clone()),
            StringMatch::Regex(text) => Self::Regex(Regex::new(text)?),
        })
    }

    pub(super) fn holds(&self, found: &str, ignore_case: bool) -> bool {
        match self {
            Self::Exact(wanted) => equals(found, wanted, ignore_case),
            Self::Prefix(wanted) => starts_with(found, wanted, ignore_case),
            Self::Suffix(wanted) => {
                found.len() >= wanted.len()
                    && found.is_char_boundary(found.len() - wanted.len())
                    && equals(&found[found.len() - wanted.len()..], wanted, ignore_case)
            }
            Self::Contains(wanted) if ignore_case => found.to_ascii_lowercase().contains(&wanted.to_ascii_lowercase()),
            Self::Contains(wanted) => found.contains(wanted.as_str()),
            Self::Regex(regex) => regex.is_match(found),
        }
    }
}

/// Each line of a header is looked at for itself, and one that matches is enough (Envoy since 1.31); what is inverted
/// holds where none matches. A header that is not there matches nothing, inverted or not.
fn header_holds(header: &HeaderMatch, value: &Value, request: &RequestView<'_>) -> bool {
    let mut found = request.header_lines(&header.name).peekable();
    let absent = found.peek().is_none();
    match value {
        Value::Present => (!absent || header.absent_is_empty) != header.invert,
        Value::Text { .. } if !absent => found.any(|line| value.holds(&line)) != header.invert,
        Value::Text { .. } => header.absent_is_empty && value.holds("") != header.invert,
    }
}

/// gRPC by its content type (gRPC over HTTP/2 specification, "Requests").
pub fn is_grpc(request: &RequestView<'_>) -> bool {
    request.headers.get(http::header::CONTENT_TYPE).is_some_and(|value| {
        let value = value.as_bytes();
        value.starts_with(b"application/grpc") && matches!(value.get(16), None | Some(b'+' | b';'))
    })
}

fn equals(a: &str, b: &str, ignore_case: bool) -> bool {
    if ignore_case { a.eq_ignore_ascii_case(b) } else { a == b }
}

fn starts_with(text: &str, prefix: &str, ignore_case: bool) -> bool {
    if !ignore_case {
        return text.starts_with(prefix);
    }
    text.as_bytes().get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix.as_bytes()))
}
