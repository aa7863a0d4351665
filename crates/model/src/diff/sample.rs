//! Texts that a condition takes, made from the condition itself. `candidates` puts requests together of them.
//!
//! Nothing here decides whether a text is taken: the matcher does, when the request is asked of it.

use crate::config::{StringMatch, ValueMatch};
use regex_syntax::hir::{Class, Hir, HirKind};

/// What stands where a pattern leaves it open.
const ANY: char = 'x';
/// A value that nobody writes.
pub(super) const OTHER: &str = "some-other";

/// The shortest first; without those that can be no value of a header.
pub(super) fn of_value(matches: &ValueMatch) -> Vec<String> {
    match matches {
        ValueMatch::Present => vec![OTHER.to_owned()],
        ValueMatch::String { value, ignore_case } => {
            let mut texts = of_string(value);
            if *ignore_case {
                texts.extend(texts.clone().iter().map(|text| text.to_ascii_uppercase()));
            }
            texts.retain(|text| !text.bytes().any(|b| b.is_ascii_control()));
            texts
        }
    }
}

pub(super) fn of_string(value: &StringMatch) -> Vec<String> {
    match value {
        StringMatch::Exact(text) => vec![text.clone()],
        StringMatch::Prefix(text) => vec![text.clone(), format!("{text}{ANY}")],
        StringMatch::Suffix(text) => vec![text.clone(), format!("{ANY}{text}")],
        StringMatch::Contains(text) => vec![text.clone(), format!("{ANY}{text}{ANY}")],
        StringMatch::Regex(regex) => of_regex(regex),
    }
}

/// Few texts: of each alternative one, with what may be left out left out, and with it.
pub(super) fn of_regex(regex: &str) -> Vec<String> {
    const MOST: usize = 8;
    let Ok(tree) = regex_syntax::parse(regex) else { return Vec::new() };
    let mut all = Vec::new();
    for more in [false, true] {
        for text in texts(&tree, more, MOST) {
            if !all.contains(&text) {
                all.push(text);
            }
        }
    }
    all.truncate(MOST);
    all
}

/// `more`: what may be repeated is there once at least.
fn texts(tree: &Hir, more: bool, most: usize) -> Vec<String> {
    match tree.kind() {
        HirKind::Empty | HirKind::Look(_) => vec![String::new()],
        HirKind::Literal(literal) => vec![String::from_utf8_lossy(&literal.0).into_owned()],
        HirKind::Class(class) => vec![one_of(class).to_string()],
        HirKind::Repetition(repetition) => {
            let times = usize::try_from(repetition.min).unwrap_or(usize::MAX).clamp(usize::from(more), 64);
            texts(&repetition.sub, more, most).into_iter().map(|text| text.repeat(times)).collect()
        }
        HirKind::Capture(capture) => texts(&capture.sub, more, most),
        HirKind::Concat(parts) => parts.iter().fold(vec![String::new()], |heads, part| {
            let tails = texts(part, more, most);
            let joined = heads.iter().flat_map(|head| tails.iter().map(move |tail| format!("{head}{tail}")));
            joined.take(most).collect()
        }),
        HirKind::Alternation(ways) => ways.iter().flat_map(|way| texts(way, more, most)).take(most).collect(),
    }
}

/// A letter where the class has it.
fn one_of(class: &Class) -> char {
    let has = |wanted: char| match class {
        Class::Unicode(class) => class.iter().any(|range| range.start() <= wanted && wanted <= range.end()),
        Class::Bytes(class) => {
            class.iter().any(|r| u32::from(r.start()) <= wanted as u32 && wanted as u32 <= u32::from(r.end()))
        }
    };
    let usual = [ANY, 'a', '1', 'A', '-', '.'].into_iter().find(|wanted| has(*wanted));
    let first = || match class {
        Class::Unicode(class) => class.iter().next().map(|range| range.start()),
        Class::Bytes(class) => class.iter().next().map(|range| char::from(range.start())),
    };
    usual.or_else(|| ('!'..='~').find(|c| has(*c))).or_else(first).unwrap_or(ANY)
}
