//! What of a request's and its answer's head a log names, copied while they are there: the heads go on to the other
//! side, and a shared slice of one would keep the connection's buffer.

use http::HeaderMap;
use http::header::HeaderName;

/// A part of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    Method,
    Path,
    Authority,
    Scheme,
    Request(HeaderName),
    Response(HeaderName),
    Trailer(HeaderName),
    /// A pseudo-header that there is not.
    Nothing,
}

impl Source {
    pub(super) fn of_request(name: &str) -> Self {
        match name.to_ascii_lowercase().as_str() {
            ":method" => Self::Method,
            ":path" => Self::Path,
            ":authority" | "host" => Self::Authority,
            ":scheme" => Self::Scheme,
            name => HeaderName::from_bytes(name.as_bytes()).map_or(Self::Nothing, Self::Request),
        }
    }

    pub(super) fn of_response(name: &str) -> Self {
        HeaderName::from_bytes(name.to_ascii_lowercase().as_bytes()).map_or(Self::Nothing, Self::Response)
    }

    pub(super) fn of_trailer(name: &str) -> Self {
        HeaderName::from_bytes(name.to_ascii_lowercase().as_bytes()).map_or(Self::Nothing, Self::Trailer)
    }
}

/// A request's head.
pub(crate) struct Head<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) authority: &'a str,
    pub(crate) scheme: &'a str,
    pub(crate) headers: &'a HeaderMap,
}

/// The values of a log's sources, as far as they have been seen.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    text: String,
    /// Begin and end of each source's value.
    spans: Vec<Option<(u32, u32)>>,
}

impl Kept {
    /// Keeps what the sources name of a request, in the place of what was kept of it before.
    pub(crate) fn request(&mut self, sources: &[Source], head: &Head<'_>) {
        for (index, source) in sources.iter().enumerate() {
            match source {
                Source::Method => self.keep(index, Some(head.method.as_bytes())),
                Source::Path => self.keep(index, Some(head.path.as_bytes())),
                Source::Authority => self.keep(index, Some(head.authority.as_bytes()).filter(|a| !a.is_empty())),
                Source::Scheme => self.keep(index, Some(head.scheme.as_bytes())),
                Source::Request(name) => self.keep(index, head.headers.get(name).map(|value| value.as_bytes())),
                Source::Response(_) | Source::Trailer(_) | Source::Nothing => {}
            }
        }
    }

    pub(crate) fn response(&mut self, sources: &[Source], headers: &HeaderMap) {
        for (index, source) in sources.iter().enumerate() {
            if let Source::Response(name) = source {
                self.keep(index, headers.get(name).map(|value| value.as_bytes()));
            }
        }
    }

    pub(crate) fn trailers(&mut self, sources: &[Source], headers: &HeaderMap) {
        for (index, source) in sources.iter().enumerate() {
            if let Source::Trailer(name) = source {
                self.keep(index, headers.get(name).map(|value| value.as_bytes()));
            }
        }
    }

    fn keep(&mut self, index: usize, value: Option<&[u8]>) {
        if self.spans.len() <= index {
            self.spans.resize(index + 1, None);
        }
        self.spans[index] = value.and_then(|value| {
            let begin = u32::try_from(self.text.len()).ok()?;
            self.text.push_str(&String::from_utf8_lossy(value));
            Some((begin, u32::try_from(self.text.len()).ok()?))
        });
    }

    pub(super) fn get(&self, index: usize) -> Option<&str> {
        let (begin, end) = (*self.spans.get(index)?)?;
        self.text.get(begin as usize..end as usize)
    }
}
