//! One form of a request's path for everything that looks at it: dot segments, slashes and escaped slashes as a
//! connection manager says.

use crate::config::{EscapedSlashes, HttpConnectionManager};
use std::borrow::Cow;

/// What becomes of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Normalized<'p> {
    /// Go on with this path and query.
    Path(Cow<'p, str>),
    /// The client is sent to this path (307).
    Redirect(String),
    /// The path has an escaped NUL, or an escaped slash where none may be (400).
    Refused,
}

/// The rules of a connection manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PathRules {
    /// Resolve `.` and `..`, take `\` for `/` and escaped unreserved characters (`%2e`, `%61`) for themselves.
    pub normalize: bool,
    pub merge_slashes: bool,
    pub escaped_slashes: EscapedSlashes,
}

impl PathRules {
    pub fn of(hcm: &HttpConnectionManager) -> Self {
        Self { normalize: hcm.normalize_path, merge_slashes: hcm.merge_slashes, escaped_slashes: hcm.escaped_slashes }
    }

    /// Applies the rules in Envoy's order: escaped slashes, dot segments, slashes. The query stays as it is.
    pub fn apply<'p>(&self, path_and_query: &'p str) -> Normalized<'p> {
        let (path, rest) = super::request::split_path(path_and_query);
        if !path.starts_with('/') || !needs_work(path) {
            return Normalized::Path(Cow::Borrowed(path_and_query));
        }
        let mut new = Cow::Borrowed(path);
        let mut redirect = false;
        if self.escaped_slashes != EscapedSlashes::Keep && has_escaped_slash(path) {
            match self.escaped_slashes {
                EscapedSlashes::Reject => return Normalized::Refused,
                EscapedSlashes::UnescapeAndRedirect => redirect = true,
                EscapedSlashes::UnescapeAndForward | EscapedSlashes::Keep => {}
            }
            new = Cow::Owned(unescape_slashes(path));
        }
        if self.normalize {
            match resolve(&new) {
                Some(resolved) => new = Cow::Owned(resolved),
                None => return Normalized::Refused,
            }
        }
        if self.merge_slashes {
            let mut merged = String::with_capacity(new.len());
            for c in new.chars() {
                if c != '/' || !merged.ends_with('/') {
                    merged.push(c);
                }
            }
            new = Cow::Owned(merged);
        }
        if *new == *path {
            return Normalized::Path(Cow::Borrowed(path_and_query));
        }
        let whole = [&new, rest].concat();
        if redirect { Normalized::Redirect(whole) } else { Normalized::Path(Cow::Owned(whole)) }
    }
}

/// Whether any rule could change the path: nearly none does.
fn needs_work(path: &str) -> bool {
    let bytes = path.as_bytes();
    bytes.windows(2).any(|pair| matches!(pair, b"//" | b"/.")) || bytes.iter().any(|b| b"%\\\"<>^`{|}".contains(b))
}

fn has_escaped_slash(path: &str) -> bool {
    path.as_bytes().windows(3).any(is_escaped_slash)
}

fn is_escaped_slash(three: &[u8]) -> bool {
    three.eq_ignore_ascii_case(b"%2f") || three.eq_ignore_ascii_case(b"%5c")
}

fn unescape_slashes(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let three = rest.as_bytes().get(at..at + 3);
        match three {
            Some(three) if is_escaped_slash(three) => {
                out.push(if three[1] == b'2' { '/' } else { '\\' });
                rest = &rest[at + 3..];
            }
            _ => {
                out.push('%');
                rest = &rest[at + 1..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// Dot segments resolved (RFC 3986, 5.2.4), after escaped unreserved characters became themselves (6.2.2.2) and what no
/// path may hold became escaped, as Envoy does. `..` does not climb above the root. None for an escaped NUL.
fn resolve(path: &str) -> Option<String> {
    let path = unescape_unreserved(path)?;
    let mut out: Vec<&str> = Vec::new();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    for (at, segment) in segments.iter().enumerate() {
        let last = at + 1 == segments.len();
        match *segment {
            "." if last => out.push(""),
            "." => {}
            ".." => {
                out.pop();
                if last {
                    out.push("");
                }
            }
            segment => out.push(segment),
        }
    }
    Some(format!("/{}", out.join("/")))
}

/// What is no escape stays as it is.
fn unescape_unreserved(path: &str) -> Option<String> {
    let bytes = path.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'%' => match bytes.get(at..at + 2).and_then(escaped) {
                Some(0) => return None,
                Some(plain) if plain.is_ascii_alphanumeric() || b"-._~".contains(&plain) => {
                    out.push(plain);
                    at += 2;
                }
                _ => out.push(byte),
            },
            b'\\' => out.push(b'/'),
            b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}' => out.extend(format!("%{byte:02X}").bytes()),
            _ => out.push(byte),
        }
    }
    String::from_utf8(out).ok()
}

/// The byte that two hexadecimal digits are.
fn escaped(digits: &[u8]) -> Option<u8> {
    let value = |digit: u8| char::from(digit).to_digit(16);
    let [high, low] = digits else { return None };
    u8::try_from(value(*high)? * 16 + value(*low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(normalize: bool, merge_slashes: bool, escaped_slashes: EscapedSlashes) -> PathRules {
        PathRules { normalize, merge_slashes, escaped_slashes }
    }

    #[test]
    fn paths() {
        let base = rules(true, false, EscapedSlashes::Keep);
        let all = rules(true, true, EscapedSlashes::UnescapeAndForward);
        for (rules, from, to) in [
            (base, "/a/b?x=../y", "/a/b?x=../y"),
            (base, "/a/./b/../c", "/a/c"),
            (base, "/../../a", "/a"),
            (base, "/a/%2e%2E/b", "/b"),
            (base, "/a/..", "/"),
            (base, "/a/b/.", "/a/b/"),
            (base, "/a\\b", "/a/b"),
            (base, "/a//b", "/a//b"),
            (base, "/%61%7E%2d%5f/%3A%20%2f", "/a~-_/%3A%20%2f"),
            (base, "/a%2", "/a%2"),
            (base, "/a%zz{b}", "/a%zz%7Bb%7D"),
            (base, "/a%2Fb", "/a%2Fb"),
            (base, "/.well-known/x", "/.well-known/x"),
            (base, "*", "*"),
            (all, "/a%2f..%5Cb//c?d", "/b/c?d"),
            (PathRules::default(), "/a/../b", "/a/../b"),
        ] {
            assert_eq!(rules.apply(from), Normalized::Path(to.into()), "{from}");
        }
        assert_eq!(rules(true, false, EscapedSlashes::Reject).apply("/a%2Fb"), Normalized::Refused);
        assert_eq!(base.apply("/a%00"), Normalized::Refused);
        assert_eq!(
            rules(false, false, EscapedSlashes::UnescapeAndRedirect).apply("/a%2Fb?q"),
            Normalized::Redirect("/a/b?q".into())
        );
    }
}
