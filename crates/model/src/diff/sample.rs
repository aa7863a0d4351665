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
        HirKind::Class(class) => some_of(class).into_iter().map(String::from).collect(),
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

/// A letter where the class has it, and where its ranges begin and end.
fn some_of(class: &Class) -> Vec<char> {
    const MOST: usize = 3;
    let ranges: Vec<(char, char)> = match class {
        Class::Unicode(class) => class.iter().map(|range| (range.start(), range.end())).collect(),
        Class::Bytes(class) => class.iter().map(|range| (range.start().into(), range.end().into())).collect(),
    };
    let has = |wanted: &char| ranges.iter().any(|(first, last)| first <= wanted && wanted <= last);
    let usual = [ANY, 'a', '1', 'A', '-', '.'].into_iter().find(has);
    let ends = ranges.iter().flat_map(|(first, last)| [*first, *last]);
    let mut some: Vec<char> = Vec::new();
    for c in usual.into_iter().chain(ends.filter(char::is_ascii_graphic)).chain(('!'..='~').filter(has).take(1)) {
        if some.len() < MOST && !some.contains(&c) {
            some.push(c);
        }
    }
    if some.is_empty() { vec![ranges.first().map_or(ANY, |(first, _)| *first)] } else { some }
}
