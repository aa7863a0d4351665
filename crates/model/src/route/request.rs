//! What the matcher sees of a request, and the random draws that go into a decision.

use http::HeaderMap;
use std::borrow::Cow;

/// A request as the matcher sees it: after path normalisation, before any edit.
#[derive(Debug, Clone, Copy)]
pub struct RequestView<'a> {
    pub method: &'a str,
    /// `http` or `https`, as `x-forwarded-proto` says.
    pub scheme: &'a str,
    /// Host, with the port where the client wrote one.
    pub authority: &'a str,
    /// Path with query; `*` or empty for CONNECT and `OPTIONS *`.
    pub path: &'a str,
    pub headers: &'a HeaderMap,
}

impl<'a> RequestView<'a> {
    /// Without query and fragment.
    pub fn path_only(&self) -> &'a str {
        split_path(self.path).0
    }

    /// Without the `?`; None where there is none.
    pub fn query(&self) -> Option<&'a str> {
        let (_, rest) = split_path(self.path);
        rest.strip_prefix('?').map(|q| q.split('#').next().unwrap_or(q))
    }

    /// A header or pseudo header by lower-case name; several values are joined by commas, as Envoy does.
    pub fn header(&self, name: &str) -> Option<Cow<'a, str>> {
        match name {
            ":method" => return Some(Cow::Borrowed(self.method)),
            ":scheme" => return Some(Cow::Borrowed(self.scheme)),
            ":authority" | "host" => return Some(Cow::Borrowed(self.authority)),
            ":path" => return Some(Cow::Borrowed(self.path)),
            _ => {}
        }
        let mut values = self.headers.get_all(name).iter();
        let first = text(values.next()?.as_bytes());
        let Some(second) = values.next() else { return Some(first) };
        let mut joined = first.into_owned();
        for value in std::iter::once(second).chain(values) {
            joined.push(',');
            joined.push_str(&text(value.as_bytes()));
        }
        Some(Cow::Owned(joined))
    }

    /// The lines of a header, or a pseudo header, by lower-case name.
    pub fn header_lines(&self, name: &str) -> impl Iterator<Item = Cow<'a, str>> {
        let pseudo = match name {
            ":method" | ":scheme" | ":authority" | "host" | ":path" => self.header(name),
            _ => None,
        };
        let lines = self.headers.get_all(name).iter().map(|value| text(value.as_bytes()));
        let has_lines = pseudo.is_none();
        pseudo.into_iter().chain(lines.filter(move |_| has_lines))
    }

    /// The first value of a query parameter; the text after `=`, empty without one. Nothing is decoded.
    pub fn query_parameter(&self, name: &str) -> Option<&'a str> {
        self.query()?.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (key == name).then_some(value)
        })
    }
}

/// The path, and the rest from `?` or `#` on.
pub(crate) fn split_path(path: &str) -> (&str, &str) {
    path.split_at(path.find(['?', '#']).unwrap_or(path.len()))
}

/// Bytes that are no UTF-8 are matched by their replacement characters: never equal to what a user wrote.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// Random numbers, each uniform over all of u32, that a decision may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Draws {
    /// For routes that take a share of the requests.
    pub fraction: u32,
    /// For weighted destinations.
    pub weight: u32,
    pub delay: u32,
    pub abort: u32,
    pub mirror: u32,
}

/// Whether a draw falls into a share.
pub fn within(draw: u32, share: crate::config::PerMillion) -> bool {
    draw % 1_000_000 < share.0
}
