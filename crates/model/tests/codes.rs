//! The pages in docs/codes are those of the table; AMIME_BLESS=1 writes them.

use amime_model::diagnostic::codes;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

#[test]
fn each_code_has_its_page() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/codes");
    let mut pages: BTreeMap<String, String> =
        codes::all().map(|known| (format!("{}.md", known.code), codes::page(known))).collect();
    pages.insert("README.md".to_owned(), codes::index());
    if std::env::var_os("AMIME_BLESS").is_some() {
        std::fs::create_dir_all(&folder).expect("a folder");
        for (name, text) in &pages {
            std::fs::write(folder.join(name), text).expect("a page");
        }
    }
    let there: BTreeSet<String> = std::fs::read_dir(&folder)
        .expect("docs/codes: AMIME_BLESS=1 writes it")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(
        there,
        pages.keys().cloned().collect(),
        "AMIME_BLESS=1 writes pages, and leaves those that are no code's"
    );
    for (name, text) in &pages {
        let written = std::fs::read_to_string(folder.join(name)).expect("a page");
        assert_eq!(written, *text, "docs/codes/{name}: AMIME_BLESS=1 writes it");
    }
}

#[test]
fn no_code_stands_twice() {
    let mut seen = BTreeSet::new();
    assert!(codes::all().all(|known| seen.insert(known.code)));
}
