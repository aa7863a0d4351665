//! Diagnostics as they are printed.

use super::*;
use crate::resource::{Kind, ResourceId};

fn at(line: u32, column: u32) -> Diagnostic {
    Diagnostic::error("IST0106", "unknown field `timout`").with_place(Some(Place {
        file: "shop/vs.yaml".into(),
        line,
        column,
    }))
}

#[test]
fn as_a_compiler_would() {
    let diagnostic = at(12, 7)
        .with_resource(&ResourceId::new(Kind::VirtualService, "shop", "reviews"))
        .with_field("spec.http[0].timout")
        .with_suggestion("timeout");
    let want = "\
error[IST0106]: unknown field `timout`
  --> shop/vs.yaml:12:7
   |
12 |       timout: 5s
   |       ^^^^^^
   = in VirtualService shop/reviews: spec.http[0].timout
   = try `timeout`
";
    assert_eq!(render(&diagnostic, Some("      timout: 5s"), false), want);
    let coloured = render(&diagnostic, Some("      timout: 5s"), true);
    assert!(coloured.starts_with("\u{1b}[1;31merror[IST0106]\u{1b}[0m: "), "{coloured}");
}

#[test]
fn without_a_line_or_a_place() {
    assert_eq!(render(&at(1, 1), None, false), "error[IST0106]: unknown field `timout`\n --> shop/vs.yaml:1:1\n");
    assert_eq!(render(&Diagnostic::info("X", "a\u{1b}b"), None, false), "note[X]: a\u{fffd}b\n");
}

#[test]
fn carets_stand_under_the_word() {
    let caret = |line: &str, column| {
        let (shown, before, width) = excerpt(line, column);
        (shown, format!("{}{}", " ".repeat(before), "^".repeat(width)))
    };
    assert_eq!(caret("\ta: \"b c\", d", 5), (" a: \"b c\", d".to_owned(), "    ^^^^^".to_owned()));
    assert_eq!(caret("名前: 値段", 5), ("名前: 値段".to_owned(), "      ^^^^".to_owned()));
    assert_eq!(caret("a: b c # d", 4), ("a: b c # d".to_owned(), "   ^^^".to_owned()));
    assert_eq!(caret("ab: c", 1), ("ab: c".to_owned(), "^^".to_owned()));
    assert_eq!(caret("[a, b]", 5), ("[a, b]".to_owned(), "    ^".to_owned()));
    assert_eq!(caret("short", 99), ("short".to_owned(), "     ^".to_owned()), "beyond the end: just after it");
    assert_eq!(caret("", 1), (String::new(), "^".to_owned()));
    let long = format!("{}here{}", "x".repeat(500), "y".repeat(500)).replace("here", " here ");
    let (shown, marked) = caret(&long, 502);
    assert_eq!(shown.chars().count(), WIDTH + 2);
    assert_eq!(shown.chars().nth(marked.find('^').unwrap()), Some('h'));
}

#[test]
fn the_line_of_a_place_is_found_by_every_end_of_a_line() {
    let mut texts = Texts::default();
    texts.insert("a.yaml".into(), "one\r\ntwo\rthree\n\nfive".into());
    let line = |line| texts.line(&Place { file: "a.yaml".into(), line, column: 1 });
    let lines: Vec<_> = (0..=6).map(line).collect();
    assert_eq!(lines, [None, Some("one"), Some("two"), Some("three"), Some(""), Some("five"), None]);
}
