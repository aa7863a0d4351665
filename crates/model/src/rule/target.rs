//! Rewrites, redirects and answers of the proxy's own.

use crate::config::{DirectResponse, PathRewrite, Redirect, RedirectPath};
use crate::resource::virtual_service::{HttpDirectResponse, HttpRedirect, HttpRewrite, RedirectPort};

pub fn path_rewrite(written: &HttpRewrite) -> PathRewrite {
    match &written.uri_regex_rewrite {
        Some(regex) => PathRewrite::Regex { regex: regex.pattern.clone(), substitution: regex.rewrite.clone() },
        None if written.uri.is_empty() => PathRewrite::None,
        None => PathRewrite::Prefix(written.uri.clone()),
    }
}

/// None where the status is none.
pub fn direct_response(written: &HttpDirectResponse) -> Option<DirectResponse> {
    let body = match written.body.as_ref().map(|body| (&body.string, &body.bytes)) {
        Some((Some(text), _)) => text.clone().into_bytes(),
        Some((None, Some(bytes))) => bytes.0.clone(),
        Some((None, None)) | None => Vec::new(),
    };
    let status = u16::try_from(written.status).ok().filter(|s| (200..600).contains(s))?;
    Some(DirectResponse { status, body })
}

/// `port` is the one that was dialled; `tls`: clients speak TLS to the server. None for a code that is no redirect.
pub fn redirect(written: &HttpRedirect, port: u32, tls: bool) -> Option<Redirect> {
    let text = |text: &String| (!text.is_empty()).then(|| text.clone());
    let scheme = text(&written.scheme);
    let asked = match (written.port, written.derive_port) {
        (Some(port), _) => Some(port),
        (None, Some(RedirectPort::FromRequestPort)) => Some(port),
        (None, _) => None,
    };
    let effective = scheme.as_deref().unwrap_or(if tls { "https" } else { "http" });
    // The scheme's own port is not written.
    let port = asked.filter(|p| !matches!((*p, effective), (0, _) | (80, "http") | (443, "https")));
    let path = if !written.prefix_rewrite.is_empty() {
        RedirectPath::Prefix(written.prefix_rewrite.clone())
    } else if !written.uri.is_empty() {
        RedirectPath::Full(written.uri.clone())
    } else {
        RedirectPath::Keep
    };
    Some(Redirect {
        status: match written.redirect_code {
            0 => 301,
            code @ (301 | 302 | 303 | 307 | 308) => u16::try_from(code).ok()?,
            _ => return None,
        },
        scheme,
        authority: text(&written.authority),
        port: port.and_then(|p| u16::try_from(p).ok()),
        path,
        strip_query: false,
    })
}
