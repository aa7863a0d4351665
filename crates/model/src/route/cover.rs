//! Whether one match takes every request that another takes. It stands beside the matcher, whose meaning it follows, and
//! is told only where it can be proved: no answer is yes for a request that the first would not take.
//!
//! `check` asks it which rules earlier ones leave nothing to.

use crate::config::{HeaderMatch, PathMatch, QueryMatch, RouteMatch, StringMatch, ValueMatch};
use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

/// Does `wide` take every request that `narrow` takes?
pub fn covers(wide: &RouteMatch, narrow: &RouteMatch) -> bool {
    let header = |header: &HeaderMatch| narrow.headers.iter().any(|given| follows(given, header));
    let query = |query: &QueryMatch| {
        let same = narrow.query.iter().filter(|given| given.name == query.name);
        same.into_iter().any(|given| value_covers(&query.matches, &given.matches))
    };
    // Both are asked with the same draw.
    let fraction = match (wide.fraction, narrow.fraction) {
        (None, _) => true,
        (Some(wide), Some(narrow)) => narrow.0 <= wide.0,
        (Some(_), None) => false,
    };
    fraction
        && (!wide.grpc_only || narrow.grpc_only)
        && path_covers(wide, narrow)
        && wide.headers.iter().all(header)
        && wide.query.iter().all(query)
}

fn path_covers(wide: &RouteMatch, narrow: &RouteMatch) -> bool {
    match (path_text(wide), path_text(narrow)) {
        (Some(one), Some(other)) => one.covers(&other),
        _ => wide.path == narrow.path && wide.ignore_case == narrow.ignore_case,
    }
}

/// None: of a kind that is compared as a whole.
fn path_text(matches: &RouteMatch) -> Option<Text<'_>> {
    let ignore_case = matches.ignore_case;
    Some(match &matches.path {
        PathMatch::Exact(text) => Text { kind: Kind::Exact, text: text.into(), ignore_case },
        PathMatch::Prefix(text) => Text { kind: Kind::Prefix, text: text.into(), ignore_case },
        // Case is not ignored of regular expressions.
        PathMatch::Regex(regex) => Text::of_regex(regex),
        PathMatch::SegmentPrefix(_) | PathMatch::Connect => return None,
    })
}

/// Does the condition `asked` hold wherever `given` holds?
fn follows(given: &HeaderMatch, asked: &HeaderMatch) -> bool {
    if given == asked {
        return true;
    }
    if given.name != asked.name {
        return false;
    }
    match (asked.invert, given.invert) {
        // Some line is there that matches.
        (false, false) => {
            let absent_is_enough = given.absent_is_empty && !asked.absent_is_empty;
            !absent_is_enough && value_covers(&asked.matches, &given.matches)
        }
        // No line is there that matches; of one that is absent both say the same of the empty text.
        (true, true) => match (&asked.matches, &given.matches) {
            (asked_value @ ValueMatch::String { .. }, given_value @ ValueMatch::String { .. }) => {
                asked.absent_is_empty && given.absent_is_empty && value_covers(given_value, asked_value)
            }
            // It is absent.
            (ValueMatch::String { value, ignore_case }, ValueMatch::Present) => {
                asked.absent_is_empty && !given.absent_is_empty && Text::of(value, *ignore_case).surely_not_empty()
            }
            (ValueMatch::Present, _) => false,
        },
        _ => false,
    }
}

fn value_covers(wide: &ValueMatch, narrow: &ValueMatch) -> bool {
    match (wide, narrow) {
        (ValueMatch::Present, _) => true,
        (ValueMatch::String { .. }, ValueMatch::Present) => false,
        (
            ValueMatch::String { value: wide, ignore_case: wide_case },
            ValueMatch::String { value: narrow, ignore_case: narrow_case },
        ) => Text::of(wide, *wide_case).covers(&Text::of(narrow, *narrow_case)),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Exact,
    Prefix,
    Suffix,
    Contains,
    Regex,
}

/// A condition on a text. A regular expression that is a literal, or one before `.*`, has become that.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Text<'t> {
    kind: Kind,
    text: Cow<'t, str>,
    ignore_case: bool,
}

impl<'t> Text<'t> {
    fn of(value: &'t StringMatch, ignore_case: bool) -> Self {
        let (kind, text) = match value {
            StringMatch::Exact(text) => (Kind::Exact, text),
            StringMatch::Prefix(text) => (Kind::Prefix, text),
            StringMatch::Suffix(text) => (Kind::Suffix, text),
            StringMatch::Contains(text) => (Kind::Contains, text),
            StringMatch::Regex(regex) => return Self::of_regex(regex),
        };
        Self { kind, text: text.into(), ignore_case }
    }

    /// No path and no value of a header or parameter has a line break, which is all that `.*` stops at.
    fn of_regex(regex: &'t str) -> Self {
        let bare = regex.strip_prefix('^').unwrap_or(regex);
        let bare = bare.strip_suffix('$').unwrap_or(bare);
        let (kind, head) = match bare.strip_suffix(".*") {
            Some(head) => (Kind::Prefix, head),
            None => (Kind::Exact, bare),
        };
        match literal(head) {
            Some((text, "")) => Self { kind, text: text.into(), ignore_case: false },
            _ => Self { kind: Kind::Regex, text: regex.into(), ignore_case: false },
        }
    }

    /// Every text that fits `other` fits this.
    fn covers(&self, other: &Self) -> bool {
        let wide = &*self.text;
        if wide.is_empty() && !matches!(self.kind, Kind::Exact | Kind::Regex) {
            return true;
        }
        // Where only the other ignores case, it stands for every way of writing its letters.
        if other.ignore_case && !self.ignore_case && wide.bytes().any(|b| b.is_ascii_alphabetic()) {
            return false;
        }
        let fold = |text: &str| if self.ignore_case { text.to_ascii_lowercase() } else { text.to_owned() };
        let of_literal = |narrow: &str| match self.kind {
            Kind::Exact => other.kind == Kind::Exact && narrow == fold(wide),
            Kind::Prefix => matches!(other.kind, Kind::Exact | Kind::Prefix) && narrow.starts_with(&fold(wide)),
            Kind::Suffix => matches!(other.kind, Kind::Exact | Kind::Suffix) && narrow.ends_with(&fold(wide)),
            Kind::Contains => narrow.contains(&fold(wide)),
            Kind::Regex => false,
        };
        match (self.kind, other.kind) {
            (Kind::Regex, Kind::Regex) => self.text == other.text,
            (Kind::Prefix, Kind::Regex) => regex_head(&other.text).is_some_and(|h| fold(&h).starts_with(&fold(wide))),
            (_, Kind::Regex) => false,
            _ => of_literal(&fold(&other.text)),
        }
    }

    /// The empty text does not fit.
    fn surely_not_empty(&self) -> bool {
        self.kind != Kind::Regex && !self.text.is_empty()
    }
}

/// The literal that a regular expression begins with, and what comes after it.
fn literal(regex: &str) -> Option<(String, &str)> {
    let mut text = String::new();
    let mut rest = regex.char_indices();
    while let Some((at, c)) = rest.next() {
        match c {
            '\\' => match rest.next() {
                Some((_, escaped)) if escaped.is_ascii_punctuation() => text.push(escaped),
                Some(_) => return Some((text, &regex[at..])),
                None => return None,
            },
            '.' | '+' | '*' | '?' | '(' | ')' | '|' | '[' | ']' | '{' | '}' | '^' | '$' => {
                return Some((text, &regex[at..]));
            }
            _ => text.push(c),
        }
    }
    Some((text, ""))
}

/// What every text that fits a regular expression begins with.
fn regex_head(regex: &str) -> Option<String> {
    // An alternative begins as it likes.
    if regex.contains('|') {
        return None;
    }
    let (mut head, rest) = literal(regex.strip_prefix('^').unwrap_or(regex))?;
    // What is repeated may be there no time at all.
    if rest.starts_with(['*', '?', '{']) {
        head.pop();
    }
    Some(head)
}

/// No more matches than this are compared with one: what is not found among them is not told.
const LOOKED_AT: usize = 256;

/// Matches, found again by what they could cover: a list of a thousand rules is not a million comparisons.
#[derive(Debug)]
pub struct Index<T> {
    all: Vec<(RouteMatch, T)>,
    by_key: HashMap<(PathKey, Condition), Vec<usize>>,
    /// Lengths of prefixes, in bytes.
    lengths: BTreeSet<usize>,
}

/// By which path a match is found; texts are folded, for either of two may ignore case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum PathKey {
    Exact(String),
    Prefix(String),
    /// A regular expression, or a kind that is compared as a whole.
    Other(PathMatch),
}

/// One of a match's conditions, which what it covers has to have too.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Condition {
    None,
    Header(String, Option<String>),
    Query(String, Option<String>),
}

impl<T> Default for Index<T> {
    fn default() -> Self {
        Self { all: Vec::new(), by_key: HashMap::new(), lengths: BTreeSet::new() }
    }
}

impl<T> Index<T> {
    pub fn add(&mut self, matches: RouteMatch, value: T) {
        let path = match path_text(&matches) {
            Some(Text { kind: Kind::Exact, text, .. }) => PathKey::Exact(text.to_ascii_lowercase()),
            Some(Text { kind: Kind::Prefix, text, .. }) => {
                self.lengths.insert(text.len());
                PathKey::Prefix(text.to_ascii_lowercase())
            }
            _ => PathKey::Other(matches.path.clone()),
        };
        let key = (path, Condition::of(&matches));
        self.by_key.entry(key).or_default().push(self.all.len());
        self.all.push((matches, value));
    }

    /// The first of those that were added which covers `narrow` and is fit.
    pub fn covering(&self, narrow: &RouteMatch, fit: impl Fn(&RouteMatch, &T) -> bool) -> Option<&T> {
        let paths = self.paths_over(narrow);
        let conditions = Condition::all_of(narrow);
        let keys = paths.iter().flat_map(|path| conditions.iter().map(move |c| (path.clone(), c.clone())));
        let candidates = keys.filter_map(|key| self.by_key.get(&key)).flatten().take(LOOKED_AT);
        let covering = candidates.filter(|index| {
            let (wide, value) = &self.all[**index];
            fit(wide, value) && covers(wide, narrow)
        });
        covering.min().map(|index| &self.all[*index].1)
    }

    /// Where matches stand whose paths may cover this one's.
    fn paths_over(&self, narrow: &RouteMatch) -> Vec<PathKey> {
        let mut keys = vec![PathKey::Other(narrow.path.clone())];
        let Some(text) = path_text(narrow) else { return keys };
        let head = match text.kind {
            Kind::Regex => regex_head(&text.text).unwrap_or_default(),
            _ => text.text.into_owned(),
        };
        let head = head.to_ascii_lowercase();
        let prefixes = self.lengths.iter().map_while(|length| (*length <= head.len()).then(|| head.get(..*length)));
        keys.extend(prefixes.flatten().map(|prefix| PathKey::Prefix(prefix.to_owned())));
        if text.kind == Kind::Exact {
            keys.push(PathKey::Exact(head));
        }
        keys
    }
}

impl Condition {
    /// The one that tells most.
    fn of(matches: &RouteMatch) -> Self {
        let exact = |header: &&HeaderMatch| !header.invert && exact_value(&header.matches).is_some();
        if let Some(header) = matches.headers.iter().find(exact).or(matches.headers.first()) {
            let value = exact_value(&header.matches).filter(|_| !header.invert);
            return Self::Header(header.name.clone(), value.map(str::to_owned));
        }
        match matches.query.first() {
            Some(query) => Self::Query(query.name.clone(), exact_value(&query.matches).map(str::to_owned)),
            None => Self::None,
        }
    }

    /// All that a match which covers this one could have been found by.
    fn all_of(matches: &RouteMatch) -> Vec<Self> {
        let mut all = vec![Self::None];
        for header in &matches.headers {
            all.push(Self::Header(header.name.clone(), None));
            let value = exact_value(&header.matches).filter(|_| !header.invert);
            all.extend(value.map(|value| Self::Header(header.name.clone(), Some(value.to_owned()))));
        }
        for query in &matches.query {
            all.push(Self::Query(query.name.clone(), None));
            let value = exact_value(&query.matches);
            all.extend(value.map(|value| Self::Query(query.name.clone(), Some(value.to_owned()))));
        }
        all.dedup();
        all
    }
}

fn exact_value(matches: &ValueMatch) -> Option<&str> {
    match matches {
        ValueMatch::String { value: StringMatch::Exact(text), ignore_case: false } => Some(text),
        _ => None,
    }
}

#[cfg(test)]
#[path = "cover_tests.rs"]
mod tests;
