//! `/version`, and the lists of pages: text, JSON, and a page of links for browsers.

use super::view::Asked;
use crate::serve::{Answer, Page, html, json, text};
use http::StatusCode;
use serde_json::json;
use std::fmt::Write;

const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(super) fn version(asked: &Asked, control_plane: &str) -> Answer {
    if asked.json || asked.get("format") == Some("json") {
        return json(&json!({ "version": VERSION, "control_plane": control_plane }));
    }
    text(StatusCode::OK, format!("{VERSION}\n"))
}

pub(super) fn list(pages: &[Page]) -> Answer {
    json(&pages.iter().map(|page| json!({ "path": page.path, "about": page.about })).collect::<Vec<_>>())
}

pub(super) fn index(asked: &Asked, pages: &[Page]) -> Answer {
    if asked.html {
        return html(browser(pages));
    }
    let width = pages.iter().map(|page| page.path.len()).max().unwrap_or_default();
    let lines: String = pages.iter().map(|page| format!("{:<width$}  {}\n", page.path, page.about)).collect();
    text(StatusCode::OK, lines)
}

const HEAD: &str = "<!doctype html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width\">
<meta name=\"color-scheme\" content=\"light dark\">
<title>amime control</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 56rem; padding: 0 1rem }
h1 { font-size: 1.4rem }
table { border-collapse: collapse; width: 100% }
td { border-top: 1px solid #8884; padding: .4rem 1rem .4rem 0; vertical-align: top }
td:first-child { font-family: ui-monospace, monospace; white-space: nowrap }
</style>
";

/// Nothing in it comes from users.
fn browser(pages: &[Page]) -> String {
    let mut page = format!("{HEAD}<h1>amime control {VERSION}</h1>\n<table>\n");
    for Page { path, about, .. } in pages {
        let about = about.replace('&', "&amp;");
        // Writing to a string does not fail.
        let _ = writeln!(page, "<tr><td><a href=\"{path}\">{path}</a><td>{about}");
    }
    page.push_str("</table>\n");
    page
}
