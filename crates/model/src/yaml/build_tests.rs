//! Places, bounds, merge keys, and going on after an error.

use super::*;
use crate::yaml::{Node, View};

fn read(text: &str) -> Parsed {
    parse(&"f.yaml".into(), text)
}

/// The tree as JSON-like text, scalars as they read.
fn show(node: Node<'_>) -> String {
    match node.view() {
        View::Scalar(scalar) => scalar.text.to_owned(),
        View::Sequence(items) => format!("[{}]", items.map(show).collect::<Vec<_>>().join(",")),
        View::Mapping(entries) => {
            let entries = entries.map(|(key, value)| format!("{}:{}", key.key_text(), show(value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
        }
    }
}

fn only(text: &str) -> Arc<Document> {
    let parsed = read(text);
    assert_eq!(parsed.errors, [], "{text}");
    assert_eq!(parsed.documents.len(), 1, "{text}");
    parsed.documents[0].clone()
}

fn at(diagnostic: &Diagnostic) -> (u32, u32) {
    let place = diagnostic.place.as_ref().unwrap();
    (place.line, place.column)
}

#[test]
fn places_are_those_of_the_text() {
    let document = only("spec:\n  http:\n  - route: [a, \"b\\tc\"]\n    timeout: 5s\n  é: { ü: x, y: [1] }\n  none:\n");
    let root = document.root();
    let place = |path: &str| {
        let place = root.place_of(path);
        (place.line, place.column)
    };
    assert_eq!(place(""), (1, 1));
    assert_eq!(place("spec"), (1, 1));
    assert_eq!(place("spec.http"), (2, 3));
    assert_eq!(place("spec.http[0]"), (3, 5));
    assert_eq!(place("spec.http[0].route"), (3, 5));
    assert_eq!(place("spec.http[0].route[1]"), (3, 16));
    assert_eq!(place("spec.http[0].timeout"), (4, 14));
    assert_eq!(place("spec[\"é\"][\"ü\"]"), (5, 11));
    assert_eq!(place("spec.none"), (6, 3), "nothing after the colon: the key");
    assert_eq!(place("spec.http[0].retries.attempts"), (3, 5), "not written: the nearest parent");
    assert_eq!(root.get("spec").unwrap().get("http").unwrap().place_of("[0].route[1]").line, 3);
}

#[test]
fn a_broken_document_is_dropped_whole_and_reading_goes_on() {
    let parsed = read("a: 1\n---\nb: [1, 2\n---\nc: 3\n---\nd: {]\n---\ne: 5\n");
    let trees: Vec<_> = parsed.documents.iter().map(|document| show(document.root())).collect();
    assert_eq!(trees, ["{a:1}", "{c:3}", "{e:5}"]);
    assert_eq!(parsed.errors.len(), 2);
    assert_eq!(at(&parsed.errors[0]), (3, 4), "the bracket that is never closed");
    assert_eq!(at(&parsed.errors[1]), (7, 4));
}

#[test]
fn tabs_crlf_bom_json_and_empty_documents() {
    let parsed = read("a:\n\tb: 1\n");
    assert_eq!(at(&parsed.errors[0]).0, 2);
    assert_eq!(show(only("\u{feff}a: 1\r\nb:\r\n- 2\r\n").root()), "{a:1,b:[2]}");
    let document = only("\u{feff}a: 1\r\nb:\r\n- 2\r\n");
    assert_eq!(document.root().place_of("b[0]").line, 3);
    assert_eq!(
        show(only("{\n\t\"a\": [1, \"x\\/y\\u00e9\\ud83d\\ude00\"],\n\t\"b\": {}\n}\n").root()),
        "{a:[1,x/yé😀],b:{}}"
    );
    assert_eq!(read("---\n# only this\n---\n\n...\n---\n").documents.len(), 0);
    assert_eq!(read("").documents.len(), 0);
    assert_eq!(at(&read("a: b\nc: d\0e\n").errors[0]), (2, 5));
}

#[test]
fn keys_twice_keep_the_first_and_are_named() {
    let document = only("x:\n- a: 1\n  b: {c: 1, \"c\": 2}\n  a: 3\n");
    assert_eq!(show(document.root()), "{x:[{a:1,b:{c:1}}]}");
    let found: Vec<_> = document.problems().iter().map(|problem| (problem.field.as_str(), at(problem))).collect();
    assert_eq!(found, [("x[0].b.c", (3, 13)), ("x[0].a", (4, 3))]);
    let many: String = (0..40).map(|key| format!("k{key}: 1\n")).collect();
    assert_eq!(only(&format!("{many}k7: 2\n")).problems()[0].field, "k7");
    assert_eq!(only("? [a]\n: 1\n? ~\n: 2\n").problems().len(), 2);
}

#[test]
fn keys_read_as_kubernetes_reads_them() {
    assert_eq!(show(only("{on: 1, 010: 2, 1.50: 3, \"no\": 4}").root()), "{true:1,8:2,1.5:3,no:4}");
}

#[test]
fn addresses_that_end_in_colons() {
    assert_eq!(show(only("[fd00::, fd01::,a:, b: , \"c\":, {d:}]").root()), "[fd00::,fd01::,a:,{b:},{c:},{d:}]");
}

#[test]
fn anchors_and_merge_keys() {
    let text = "base: &b {x: 1, v: 2}\nmore: &m {z: 3, v: 4}\nuse: {<<: [*b, *m], x: 9}\nplain: {\"<<\": *b}\n";
    let want = "{base:{x:1,v:2},more:{z:3,v:4},use:{x:9,v:2,z:3},plain:{<<:{x:1,v:2}}}";
    assert_eq!(show(only(text).root()), want);
    assert_eq!(at(&read("a: &a [1, *a]\n").errors[0]), (1, 11));
    assert_eq!(read("a: *nowhere\n").errors.len(), 1);
    assert_eq!(read("a: {<<: 5}\n").errors.len(), 1);
}

#[test]
fn aliases_may_not_explode() {
    let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..10 {
        let below = vec![format!("*a{}", level - 1); 10].join(", ");
        laughs.push_str(&format!("a{level}: &a{level} [{below}]\n"));
    }
    let parsed = read(&format!("{laughs}---\nb: 1\n"));
    assert_eq!(parsed.errors.len(), 1);
    assert_eq!(show(parsed.documents[0].root()), "{b:1}");
}

#[test]
fn nesting_is_bounded() {
    for text in ["[".repeat(100_000), "{a: ".repeat(100_000), (0..500).map(|deep| "  ".repeat(deep) + "a:\n").collect()]
    {
        assert_eq!(read(&text).errors.len(), 1);
    }
    assert_eq!(only(&("[".repeat(90) + &"]".repeat(90))).problems(), []);
}
