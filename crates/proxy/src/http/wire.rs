//! The framing of HTTP/1 requests, checked byte by byte before the codec sees them.
//!
//! The codec (hyper) is lenient where that is dangerous between two servers that may read a request
//! differently: bare line feeds, `Transfer-Encoding` beside `Content-Length`, a missing or second `Host`. This state
//! machine follows the requests of a connection on its own and refuses those; it also holds the limits on
//! request line and headers. `h1_io` feeds it.

use memchr::memchr;

/// Why a request is not taken. The connection closes after the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Malformed(&'static str),
    /// A transfer coding other than `chunked`.
    UnknownCoding,
    LineTooLong,
    HeadersTooLarge,
    /// HTTP/1.0 where it is not accepted.
    Http10,
    /// The headers, or the whole request, did not come in time.
    TimedOut,
}

impl Refusal {
    /// Nothing else is wrong with the head.
    pub(crate) const NO_HOST: Self = Self::Malformed("missing_host_header");

    pub(crate) fn status(self) -> u16 {
        match self {
            Self::Malformed(_) => 400,
            Self::UnknownCoding => 501,
            Self::LineTooLong => 414,
            Self::HeadersTooLarge => 431,
            Self::Http10 => 426,
            Self::TimedOut => 408,
        }
    }

    pub(crate) fn details(self) -> &'static str {
        match self {
            Self::Malformed(what) => what,
            Self::UnknownCoding => "http1.invalid_transfer_encoding",
            Self::LineTooLong => "http1.request_line_too_long",
            Self::HeadersTooLarge => "http1.headers_too_large",
            Self::Http10 => "low_version",
            Self::TimedOut => "request_header_timeout",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WireLimits {
    /// Bytes of a request line; and of a whole head.
    pub(crate) head: usize,
    pub(crate) headers: usize,
    pub(crate) http10: bool,
}

/// Envoy's defaults.
impl Default for WireLimits {
    fn default() -> Self {
        Self { head: 60 * 1024, headers: 100, http10: false }
    }
}

/// What may be done with the bytes looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scan {
    /// So many (more than 0) are good.
    Pass(usize),
    /// A head that is not whole yet: keep all bytes and come again with more behind them.
    More,
    Refuse(Refusal),
}

#[derive(Debug)]
pub(crate) struct Wire {
    state: State,
    limits: WireLimits,
    /// The last head asked for an upgrade and has no body: what follows may not be HTTP.
    pub(crate) wants_upgrade: bool,
    /// The size of the chunk whose extension is being read.
    extension_size: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Bytes of the head that have been looked at, the start of the line they end in, header lines seen.
    Head(Head),
    Body(u64),
    /// Value so far, digits so far.
    ChunkSize(u64, u8),
    ChunkExtension(u16),
    ChunkLineFeed(u64),
    ChunkData(u64),
    ChunkEnd,
    ChunkEndLineFeed,
    /// Bytes of all trailers, and where in a line the last was.
    Trailers(usize, TrailerAt),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TrailerAt {
    LineStart,
    Name,
    Value,
    /// Behind the CR of an empty line; of a trailer's.
    LastCarriageReturn,
    CarriageReturn,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Head {
    line_start: usize,
    lines: usize,
    length: Option<u64>,
    chunked: bool,
    hosts: u8,
    http10: bool,
    upgrade: bool,
}

const TRAILERS_MAX: usize = 8 * 1024;
const EXTENSION_MAX: u16 = 1024;
const CHUNK_DIGITS_MAX: u8 = 64;
/// What the `http` crate takes as a URI.
const URI_MAX: usize = 65_000;

impl Wire {
    pub(crate) fn new(limits: WireLimits) -> Self {
        Self { state: State::Head(Head::default()), limits, wants_upgrade: false, extension_size: 0 }
    }

    /// Between two requests (or in a head that is not whole): nothing of a body is missing.
    pub(crate) fn at_boundary(&self) -> bool {
        matches!(self.state, State::Head(_))
    }

    /// Looks at bytes. In a head, `bytes` begins with the head's first byte each time.
    pub(crate) fn scan(&mut self, bytes: &[u8]) -> Scan {
        if let State::Head(head) = self.state {
            return match self.head(head, bytes) {
                Ok(Some(length)) => Scan::Pass(length),
                Ok(None) => Scan::More,
                Err(refusal) => Scan::Refuse(refusal),
            };
        }
        let mut at = 0;
        while at < bytes.len() && !self.at_boundary() {
            match self.body(&bytes[at..]) {
                Ok(n) => at += n,
                Err(what) => return Scan::Refuse(Refusal::Malformed(what)),
            }
        }
        Scan::Pass(at)
    }

    fn head(&mut self, mut head: Head, bytes: &[u8]) -> Result<Option<usize>, Refusal> {
        loop {
            let rest = &bytes[head.line_start..];
            let Some(end) = memchr(b'\n', rest) else {
                hopeless(&head, rest)?;
                self.too_long(&head, bytes.len())?;
                self.state = State::Head(head);
                return Ok(None);
            };
            let next = head.line_start + end + 1;
            self.too_long(&head, next)?;
            let Some(line) = rest[..end].strip_suffix(b"\r") else {
                return Err(Refusal::Malformed("http1.bare_line_feed"));
            };
            match (line.is_empty(), head.lines) {
                // One empty line before a request is let pass (RFC 9112, 2.2).
                (true, 0) if head.line_start == 0 => {}
                (true, 0) => return Err(Refusal::Malformed("http1.empty_request_line")),
                (true, _) => {
                    self.finish(&head)?;
                    return Ok(Some(next));
                }
                (false, 0) => {
                    self.request_line(&mut head, line)?;
                    head.lines = 1;
                }
                (false, _) => {
                    header_line(&mut head, line)?;
                    head.lines += 1;
                    if head.lines - 1 > self.limits.headers {
                        return Err(Refusal::HeadersTooLarge);
                    }
                }
            }
            head.line_start = next;
        }
    }

    fn too_long(&self, head: &Head, seen: usize) -> Result<(), Refusal> {
        if head.lines == 0 && seen > self.limits.head.min(URI_MAX) {
            Err(Refusal::LineTooLong)
        } else if seen > self.limits.head {
            Err(Refusal::HeadersTooLarge)
        } else {
            Ok(())
        }
    }

    fn request_line(&self, head: &mut Head, line: &[u8]) -> Result<(), Refusal> {
        let malformed = Refusal::Malformed("http1.bad_request_line");
        let (version, rest) = match line.strip_suffix(b" HTTP/1.1") {
            Some(rest) => (11, rest),
            None => (10, line.strip_suffix(b" HTTP/1.0").ok_or(malformed)?),
        };
        let space = memchr(b' ', rest).ok_or(malformed)?;
        if !is_target(&rest[..space], &rest[space + 1..]) {
            return Err(Refusal::Malformed("http1.bad_target"));
        }
        head.http10 = version == 10;
        if head.http10 && !self.limits.http10 { Err(Refusal::Http10) } else { Ok(()) }
    }

    fn finish(&mut self, head: &Head) -> Result<(), Refusal> {
        // HTTP/1.0 may do without by its own rules, but there is nothing it could be routed by.
        match head.hosts {
            0 => return Err(Refusal::NO_HOST),
            1 => {}
            _ => return Err(Refusal::Malformed("http1.two_hosts")),
        }
        if head.chunked && head.http10 {
            return Err(Refusal::Malformed("http1.transfer_encoding_in_http10"));
        }
        self.state = match head.length {
            Some(_) if head.chunked => {
                return Err(Refusal::Malformed("http1.content_length_and_chunked_not_allowed"));
            }
            _ if head.chunked => State::ChunkSize(0, 0),
            Some(length) if length > 0 => State::Body(length),
            _ => State::Head(Head::default()),
        };
        self.wants_upgrade = head.upgrade && self.at_boundary();
        Ok(())
    }

    /// Takes some bytes of a body; how many, at least 1.
    fn body(&mut self, bytes: &[u8]) -> Result<usize, &'static str> {
        let first = bytes[0];
        let mut taken = 1;
        self.state = match self.state {
            State::Head(_) => return Ok(0),
            State::Body(left) => {
                taken = take(left, bytes);
                match left - taken as u64 {
                    0 => State::Head(Head::default()),
                    left => State::Body(left),
                }
            }
            State::ChunkSize(size, digits) => match (first as char).to_digit(16) {
                // Leading zeros say nothing, and are let pass in reason.
                Some(digit) if size < 1 << 56 && digits < CHUNK_DIGITS_MAX => {
                    State::ChunkSize(size << 4 | u64::from(digit), digits + 1)
                }
                Some(_) => return Err("http1.chunk_too_large"),
                None if digits == 0 => return Err("http1.bad_chunk_size"),
                None => match first {
                    b'\r' => State::ChunkLineFeed(size),
                    b';' => {
                        // The extension is not looked at; the size is kept behind it.
                        self.extension_size = size;
                        State::ChunkExtension(0)
                    }
                    _ => return Err("http1.bad_chunk_size"),
                },
            },
            State::ChunkExtension(seen) => match first {
                b'\r' => State::ChunkLineFeed(self.extension_size),
                b'\n' => return Err("http1.bare_line_feed"),
                _ if seen >= EXTENSION_MAX => return Err("http1.chunk_extension_too_long"),
                _ => State::ChunkExtension(seen + 1),
            },
            State::ChunkLineFeed(size) => match (first, size) {
                (b'\n', 0) => State::Trailers(0, TrailerAt::LineStart),
                (b'\n', size) => State::ChunkData(size),
                _ => return Err("http1.bad_chunk_size"),
            },
            State::ChunkData(left) => {
                taken = take(left, bytes);
                match left - taken as u64 {
                    0 => State::ChunkEnd,
                    left => State::ChunkData(left),
                }
            }
            State::ChunkEnd if first == b'\r' => State::ChunkEndLineFeed,
            State::ChunkEndLineFeed if first == b'\n' => State::ChunkSize(0, 0),
            State::ChunkEnd | State::ChunkEndLineFeed => return Err("http1.bad_chunk_end"),
            State::Trailers(seen, _) if seen >= TRAILERS_MAX => return Err("http1.trailers_too_large"),
            State::Trailers(_, TrailerAt::LastCarriageReturn) if first == b'\n' => State::Head(Head::default()),
            State::Trailers(seen, at) => State::Trailers(seen + 1, trailer_byte(at, first)?),
        };
        Ok(taken)
    }
}

/// The codec looks at values.
fn trailer_byte(at: TrailerAt, byte: u8) -> Result<TrailerAt, &'static str> {
    Ok(match (at, byte) {
        (TrailerAt::CarriageReturn, b'\n') => TrailerAt::LineStart,
        (TrailerAt::CarriageReturn | TrailerAt::LastCarriageReturn, _) => return Err("http1.bare_carriage_return"),
        (_, b'\n') => return Err("http1.bare_line_feed"),
        (TrailerAt::LineStart, b'\r') => TrailerAt::LastCarriageReturn,
        (TrailerAt::Value, b'\r') => TrailerAt::CarriageReturn,
        (TrailerAt::Value, _) | (TrailerAt::Name, b':') => TrailerAt::Value,
        (_, byte) if is_token(byte) => TrailerAt::Name,
        _ => return Err("http1.bad_trailer"),
    })
}

/// A byte of a header's name (RFC 9110, 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// What no further byte can make a request of is refused now, not when the client has waited long enough.
fn hopeless(head: &Head, line: &[u8]) -> Result<(), Refusal> {
    if memchr(b'\r', line).is_some_and(|at| at + 1 < line.len()) {
        return Err(Refusal::Malformed("http1.bare_carriage_return"));
    }
    let mut method = line.split(|b| *b == b' ').next().unwrap_or_default().iter();
    if head.lines == 0 && !method.all(|b| b.is_ascii_graphic() || *b == b'\r') {
        return Err(Refusal::Malformed("http1.bad_request_line"));
    }
    Ok(())
}

/// One of the four forms of a target (RFC 9112, 3.2); the codec looks at their details, but lets a fragment pass.
fn is_target(method: &[u8], target: &[u8]) -> bool {
    match target {
        _ if target.contains(&b'#') => false,
        [b'/', ..] => true,
        b"*" => method == b"OPTIONS",
        _ if method == b"CONNECT" => true,
        _ => target.windows(3).any(|three| three == b"://"),
    }
}

fn take(left: u64, bytes: &[u8]) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len())
}

/// What a header line says about framing. The codec checks names and values.
fn header_line(head: &mut Head, line: &[u8]) -> Result<(), Refusal> {
    if line[0] == b' ' || line[0] == b'\t' {
        return Err(Refusal::Malformed("http1.folded_header"));
    }
    let Some(colon) = memchr(b':', line) else { return Err(Refusal::Malformed("http1.no_colon")) };
    let (name, value) = (&line[..colon], || line[colon + 1..].trim_ascii());
    match name.len() {
        4 if name.eq_ignore_ascii_case(b"host") => head.hosts = head.hosts.saturating_add(1),
        7 if name.eq_ignore_ascii_case(b"upgrade") => head.upgrade = true,
        14 if name.eq_ignore_ascii_case(b"content-length") => {
            let digits = value();
            let valid = (1..=18).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
            if !valid || head.length.is_some() {
                return Err(Refusal::Malformed("http1.invalid_content_length"));
            }
            head.length = Some(digits.iter().fold(0, |n, d| n * 10 + u64::from(d - b'0')));
        }
        17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
            if head.chunked {
                return Err(Refusal::Malformed("http1.two_transfer_encodings"));
            }
            if !value().eq_ignore_ascii_case(b"chunked") {
                return Err(Refusal::UnknownCoding);
            }
            head.chunked = true;
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
