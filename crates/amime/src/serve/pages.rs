//! Which pages a server has: who asks for another is told them. Handlers call `find` first, and go by what it found.

use super::answer::{Answer, text};
use http::header::{ALLOW, HeaderValue};
use http::{Method, Request, StatusCode};
use std::borrow::Cow;

/// One page, or all below a path that ends in `/*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) path: &'static str,
    pub(crate) methods: Methods,
    /// What it tells or does, in a few words.
    pub(crate) about: &'static str,
}

/// How a page may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Methods {
    /// GET and HEAD.
    Read,
    /// What changes something: POST alone, so that no link and no crawler does it.
    Post,
    /// Either: what tells by GET and changes by POST.
    ReadOrPost,
}

impl Methods {
    fn allow(self, method: &Method) -> bool {
        let read = *method == Method::GET || *method == Method::HEAD;
        match self {
            Self::Read => read,
            Self::Post => *method == Method::POST,
            Self::ReadOrPost => read || *method == Method::POST,
        }
    }

    fn header(self) -> &'static str {
        match self {
            Self::Read => "GET, HEAD",
            Self::Post => "POST",
            Self::ReadOrPost => "GET, HEAD, POST",
        }
    }
}

impl Page {
    pub(crate) const fn read(path: &'static str, about: &'static str) -> Self {
        Self { path, methods: Methods::Read, about }
    }

    pub(crate) const fn post(path: &'static str, about: &'static str) -> Self {
        Self { path, methods: Methods::Post, about }
    }

    fn is_at(&self, path: &str) -> bool {
        match self.path.strip_suffix('*') {
            Some(above) => path.len() > above.len() && path.starts_with(above),
            None => path == self.path,
        }
    }
}

/// The page that is asked for, else the answer: 405 with what is allowed, or 404 with the list of pages.
pub(crate) fn find<'a, B>(pages: &'a [Page], request: &Request<B>) -> Result<&'a Page, Box<Answer>> {
    let (method, path) = (request.method(), request.uri().path());
    let Some(page) = pages.iter().find(|page| page.is_at(path)) else {
        return Err(Box::new(text(StatusCode::NOT_FOUND, format!("there is no {path} here, but\n{}", list(pages)))));
    };
    if page.methods.allow(method) {
        return Ok(page);
    }
    let allowed = page.methods.header();
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, format!("{path} is asked for by {allowed}\n"));
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    Err(Box::new(answer))
}

/// A line for each page.
fn list(pages: &[Page]) -> String {
    let width = pages.iter().map(|page| page.path.len()).max().unwrap_or_default();
    let post = |page: &Page| if page.methods == Methods::Post { "POST: " } else { "" };
    pages.iter().map(|page| format!("  {:<width$}  {}{}\n", page.path, post(page), page.about)).collect()
}

/// The first value of a parameter of the query, decoded; empty where it has none (`?clear`).
pub(crate) fn query<'a, B>(request: &'a Request<B>, name: &str) -> Option<Cow<'a, str>> {
    let query = request.uri().query().unwrap_or_default();
    form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value)
}
