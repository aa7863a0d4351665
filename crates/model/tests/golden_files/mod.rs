//! Golden files, for the tests of this folder: an input, a line of `=====`, and what comes out of the input.

use std::path::Path;

/// What parts the two halves of a file.
const MARK: &str = "=====\n";

/// Compares what `output` makes of each input in a folder of `tests/` with what stands there. It is given the file's
/// name without its ending, and the input. With `AMIME_BLESS=1` in the environment it writes what comes out instead.
pub(crate) fn check(folder: &str, output: impl Fn(&str, &str) -> String) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let mut files: Vec<_> =
        std::fs::read_dir(&folder).expect("the folder").map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} has no files", folder.display());
    let bless = std::env::var_os("AMIME_BLESS").is_some();
    let mut differing = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(&path).expect("a readable file");
        let (input, expected) = text.split_once(MARK).unwrap_or((&text, ""));
        let found = output(&path.file_stem().expect("a name").to_string_lossy(), input);
        if found == expected {
            continue;
        }
        if bless {
            std::fs::write(&path, format!("{input}{MARK}{found}")).expect("a writable file");
            continue;
        }
        let line = found.lines().zip(expected.lines()).take_while(|(found, expected)| found == expected).count();
        let at = |text: &str| text.lines().nth(line).unwrap_or("(nothing)").to_owned();
        println!("=== {} gives now:\n{found}", path.display());
        differing.push(format!("{}: {:?} for {:?}", path.display(), at(&found), at(expected)));
    }
    assert!(differing.is_empty(), "{}\nAMIME_BLESS=1 takes what comes out", differing.join("\n"));
}
