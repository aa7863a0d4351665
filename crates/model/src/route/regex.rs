//! Regular expressions as RE2 reads them (Istio's `regex` fields): whole-string match, ASCII classes,
//! linear time, a size limit. What the Rust engine would read otherwise is refused by name.
//!
//! Called by the route table's compilation and by the validation of resources.

use regex_automata::meta;
use regex_automata::util::{captures::Captures, syntax};
use regex_syntax::ast;

/// Of the compiled program, in bytes: about what RE2's default of 8 MB / Envoy's program size allow.
const SIZE_LIMIT: usize = 4 << 20;

/// RE2's own bound on counted repetition (`a{1000}` is fine, `a{1001}` is not).
const REPEAT_LIMIT: u32 = 1000;

/// A compiled RE2 expression.
#[derive(Debug, Clone)]
pub struct Regex {
    whole: meta::Regex,
    /// Unanchored, for substitution; compiled only for `Regex::for_substitution`.
    part: Option<meta::Regex>,
    source: String,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("regex `{regex}`: {reason}")]
pub struct RegexError {
    pub regex: String,
    pub reason: String,
}

impl Regex {
    /// For whole-string matches.
    pub fn new(source: &str) -> Result<Self, RegexError> {
        let fail = |reason: String| RegexError { regex: source.to_owned(), reason };
        check_dialect(source).map_err(fail)?;
        // By itself first, so that unbalanced parentheses are found there.
        compile(source).map_err(fail)?;
        let whole = compile(&format!(r"\A(?:{source})\z")).map_err(fail)?;
        Ok(Self { whole, part: None, source: source.to_owned() })
    }

    /// For `replace_all` too.
    pub fn for_substitution(source: &str) -> Result<Self, RegexError> {
        let mut regex = Self::new(source)?;
        regex.part = Some(compile(source).map_err(|reason| RegexError { regex: source.to_owned(), reason })?);
        Ok(regex)
    }

    pub fn is_match(&self, text: &str) -> bool {
        self.whole.is_match(text)
    }

    pub fn source(&self) -> &str {
        &self.source
    }

    /// RE2's GlobalReplace: every match, `\0` the match and `\1` to `\9` its groups, `\\` a backslash.
    pub fn replace_all(&self, text: &str, substitution: &str) -> String {
        let Some(regex) = &self.part else { return text.to_owned() };
        let mut out = String::with_capacity(text.len() + substitution.len());
        let mut last = 0;
        let mut captures = regex.create_captures();
        let mut at = 0;
        while at <= text.len() {
            regex.captures(regex_automata::Input::new(text).range(at..), &mut captures);
            let Some(found) = captures.get_match() else { break };
            // RE2 does not count an empty match right after a match.
            if found.is_empty() && found.start() == last && last > 0 {
                match text[found.start()..].chars().next() {
                    Some(c) => {
                        at = found.start() + c.len_utf8();
                        continue;
                    }
                    None => break,
                }
            }
            out.push_str(&text[last..found.start()]);
            expand(&captures, text, substitution, &mut out);
            last = found.end();
            at = if found.is_empty() {
                found.end() + text[found.end()..].chars().next().map_or(1, char::len_utf8)
            } else {
                found.end()
            };
        }
        out.push_str(&text[last..]);
        out
    }
}

/// Checks a substitution (`\1`) against the number of groups of its regex, as RE2's CheckRewriteString.
pub fn check_substitution(regex: &Regex, substitution: &str) -> Result<(), RegexError> {
    let fail = |reason: String| Err(RegexError { regex: regex.source.clone(), reason });
    let groups = regex.part.as_ref().unwrap_or(&regex.whole).captures_len() - 1;
    let mut chars = substitution.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            continue;
        }
        match chars.next() {
            Some('\\') => {}
            Some(d) if d.is_ascii_digit() => {
                let wanted = d as usize - '0' as usize;
                if wanted > groups {
                    return fail(format!("the substitution asks for group {wanted}, the regex has {groups}"));
                }
            }
            _ => return fail("a backslash in the substitution must be followed by a digit or a backslash".into()),
        }
    }
    Ok(())
}

fn expand(captures: &Captures, text: &str, substitution: &str, out: &mut String) {
    let mut chars = substitution.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some(d) if d.is_ascii_digit() => {
                if let Some(span) = captures.get_group(d as usize - '0' as usize) {
                    out.push_str(&text[span.start..span.end]);
                }
            }
            Some(other) => out.push(other),
            None => {}
        }
    }
}

fn compile(pattern: &str) -> Result<meta::Regex, String> {
    meta::Regex::builder()
        .syntax(syntax::Config::new().unicode(true).utf8(true))
        .configure(meta::Config::new().nfa_size_limit(Some(SIZE_LIMIT)))
        .build(&ascii_classes(pattern))
        .map_err(|e| match e.size_limit() {
            Some(limit) => format!("too large: it needs more than {limit} bytes"),
            None => match e.syntax_error() {
                Some(syntax) => one_line(&syntax.to_string()),
                None => one_line(&e.to_string()),
            },
        })
}

/// The last line of a parser's picture of the error says what is wrong.
fn one_line(error: &str) -> String {
    error.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

/// RE2 reads `\d \w \s \b` as ASCII, Rust's engine in Unicode mode does not; `.` must stay a character,
/// not a byte, so Unicode mode stays on and the classes are written out.
fn ascii_classes(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut in_class = 0usize;
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('d') => out.push_str("[0-9]"),
                Some('D') => out.push_str("[^0-9]"),
                Some('w') => out.push_str("[0-9A-Za-z_]"),
                Some('W') => out.push_str("[^0-9A-Za-z_]"),
                Some('s') => out.push_str(r"[\t\n\f\r ]"),
                Some('S') => out.push_str(r"[^\t\n\f\r ]"),
                Some('b') if in_class == 0 => out.push_str(r"(?-u:\b)"),
                // Half of a code point may not be matched, so `\B` keeps Unicode's meaning off ASCII text only.
                Some('Q') if in_class == 0 => {
                    let mut literal = String::new();
                    while let Some(l) = chars.next() {
                        if l == '\\' && chars.peek() == Some(&'E') {
                            chars.next();
                            break;
                        }
                        literal.push(l);
                    }
                    out.push_str(&regex_syntax::escape(&literal));
                }
                Some(other) => {
                    out.push('\\');
                    out.push(other);
                }
                None => out.push('\\'),
            },
            '[' if in_class == 0 => {
                in_class = 1;
                out.push('[');
                if chars.peek() == Some(&'^') {
                    out.push('^');
                    chars.next();
                }
                if chars.peek() == Some(&']') {
                    out.push_str(r"\]");
                    chars.next();
                }
            }
            '[' => {
                // `[:alpha:]` inside a class stays; a bare `[` is a literal for RE2.
                if chars.peek() == Some(&':') {
                    out.push('[');
                    while let Some(p) = chars.next() {
                        out.push(p);
                        if p == ':' && chars.peek() == Some(&']') {
                            out.push(']');
                            chars.next();
                            break;
                        }
                    }
                } else {
                    out.push_str(r"\[");
                }
            }
            ']' if in_class == 1 => {
                in_class = 0;
                out.push(']');
            }
            // Set operators of Rust's engine, plain characters for RE2.
            '&' | '~' if in_class == 1 => {
                out.push('\\');
                out.push(c);
            }
            '-' if in_class == 1 && chars.peek() == Some(&'-') => out.push_str(r"\-"),
            other => out.push(other),
        }
    }
    out
}

/// Refuses, by name, what RE2 does not have and Rust's engine has (or reads otherwise).
fn check_dialect(source: &str) -> Result<(), String> {
    let parsed = ast::parse::ParserBuilder::new().nest_limit(200).build().parse(&ascii_classes(source));
    let tree = parsed.map_err(|e| one_line(&e.to_string()))?;
    ast::visit(&tree, Dialect)
}

struct Dialect;

impl ast::Visitor for Dialect {
    type Output = ();
    type Err = String;

    fn finish(self) -> Result<(), String> {
        Ok(())
    }

    fn visit_pre(&mut self, node: &ast::Ast) -> Result<(), String> {
        match node {
            ast::Ast::Flags(set) => flags(&set.flags),
            ast::Ast::Group(group) => match &group.kind {
                ast::GroupKind::NonCapturing(set) => flags(set),
                _ => Ok(()),
            },
            ast::Ast::Assertion(assertion) => match assertion.kind {
                ast::AssertionKind::WordBoundaryStart
                | ast::AssertionKind::WordBoundaryEnd
                | ast::AssertionKind::WordBoundaryStartAngle
                | ast::AssertionKind::WordBoundaryEndAngle
                | ast::AssertionKind::WordBoundaryStartHalf
                | ast::AssertionKind::WordBoundaryEndHalf => Err("RE2 has no \\b{start}, \\< and the like".into()),
                _ => Ok(()),
            },
            ast::Ast::Repetition(repetition) => match &repetition.op.kind {
                ast::RepetitionKind::Range(range) => {
                    let most = match range {
                        ast::RepetitionRange::Exactly(n) | ast::RepetitionRange::AtLeast(n) => *n,
                        ast::RepetitionRange::Bounded(low, high) => *low.max(high),
                    };
                    if most > REPEAT_LIMIT {
                        return Err(format!("repetition of more than {REPEAT_LIMIT}"));
                    }
                    Ok(())
                }
                _ => match &*repetition.ast {
                    ast::Ast::Repetition(inner) if !matches!(inner.op.kind, ast::RepetitionKind::Range(_)) => {
                        Err("bad repetition operator (two in a row)".into())
                    }
                    _ => Ok(()),
                },
            },
            ast::Ast::ClassUnicode(class) => match &class.kind {
                ast::ClassUnicodeKind::NamedValue { .. } => Err("RE2 has no \\p{name=value}".into()),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }
}

fn flags(flags: &ast::Flags) -> Result<(), String> {
    for item in &flags.items {
        if let ast::FlagsItemKind::Flag(flag) = &item.kind {
            match flag {
                ast::Flag::CaseInsensitive
                | ast::Flag::MultiLine
                | ast::Flag::DotMatchesNewLine
                | ast::Flag::SwapGreed => {}
                ast::Flag::Unicode => return Err("RE2 has no flag u".into()),
                ast::Flag::CRLF => return Err("RE2 has no flag R".into()),
                ast::Flag::IgnoreWhitespace => return Err("RE2 has no flag x".into()),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(regex: &str, text: &str) -> bool {
        Regex::new(regex).unwrap().is_match(text)
    }

    #[test]
    fn whole_strings_only() {
        assert!(matches("a|ab", "ab"));
        assert!(!matches("a", "ab"));
        assert!(!matches("^a", "ab"));
        assert!(matches(".*jason.*", "x jason y"));
        assert!(matches("", ""));
    }

    #[test]
    fn classes_are_ascii() {
        assert!(matches(r"\d+", "42"));
        assert!(!matches(r"\d", "٣"));
        assert!(!matches(r"\w", "é"));
        assert!(matches(r"[\w-]+", "a-b"));
        assert!(matches(r"[^\d]", "x"));
        assert!(matches(".", "é"));
        assert!(matches(r"[[:alpha:]]+", "ab"));
        assert!(matches(r"[a&&b]+", "a&b"));
        assert!(matches(r"\Qa.b\E", "a.b"));
    }

    #[test]
    fn what_re2_lacks_is_refused() {
        for bad in [r"(?=a)", r"a**", "(?x)a", "(?u)a", "a{1001}", "(", r"\b{start}a", "(a", "a)", "[z-a]", r"(a)\1"] {
            assert!(Regex::new(bad).is_err(), "{bad} was accepted");
        }
        assert!(Regex::new("((((a{100}){100}){100}){100})").unwrap_err().reason.contains("too large"));
    }

    #[test]
    fn replaces_as_re2() {
        let replace =
            |regex: &str, text: &str, with: &str| Regex::for_substitution(regex).unwrap().replace_all(text, with);
        assert_eq!(
            replace("^/service/([^/]+)(/.*)$", "/service/foo/v1/api", r"\2/instance/\1"),
            "/v1/api/instance/foo"
        );
        assert_eq!(replace("one", "/xxx/one/yyy/one/zzz", "two"), "/xxx/two/yyy/two/zzz");
        assert_eq!(replace("x*", "abc", "-"), "-a-b-c-");
        assert_eq!(replace("b*", "abbc", "-"), "-a-c-");
    }

    #[test]
    fn substitutions_are_checked() {
        let regex = Regex::for_substitution("(a)").unwrap();
        assert!(check_substitution(&regex, r"\1\\").is_ok());
        assert!(check_substitution(&regex, r"\2").is_err());
        assert!(check_substitution(&regex, r"\x").is_err());
    }
}
