//! Damaged text: whatever stands in a file, loading it ends, never panics, and points at places that exist.
//!
//! The damage is random and the same in each run; a failing seed is printed.

use amime_model::diagnostic::{Diagnostic, Texts, render};
use amime_model::resource::{Loaded, ResourceSet, load, load_bytes, load_mesh_config, unknown_kinds};
use std::path::Path;

/// xorshift64*: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Below `limit`; 0 where that is 0.
    fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 33) as usize % limit.max(1)
    }

    fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

/// The inputs of the golden files, and the examples.
fn corpus() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("tests/golden_resources"), root.join("../../examples")];
    let mut texts = Vec::new();
    while let Some(folder) = folders.pop() {
        let mut entries: Vec<_> =
            std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
        entries.sort();
        for path in entries {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "yaml" || extension == "txt") {
                let text = std::fs::read_to_string(&path).expect("text");
                texts.push(text.split("=====").next().unwrap_or("").to_owned());
            }
        }
    }
    assert!(texts.len() > 10);
    texts
}

const ODD: &[&str] = &[
    "",
    " ",
    "\n",
    "\n\n---\n",
    "\t",
    ":",
    "- ",
    "? ",
    "&a ",
    "*a",
    "<<: *a",
    "!!str ",
    "!x ",
    "|",
    ">-\n",
    "'",
    "\"",
    "{",
    "}",
    "[",
    "]",
    ",",
    "#",
    "%",
    "@",
    "`",
    "~",
    "null",
    "yes",
    "0x1F",
    "1e999",
    ".nan",
    "99999999999999999999999",
    "-1",
    "é",
    "値",
    "😀",
    "\u{feff}",
    "\r",
    "\r\n",
    "\0",
    "\u{85}",
    "\u{2028}",
    "...\n",
    "%YAML 1.1\n---\n",
    "\\x",
    "5s",
    "1h30m",
    "a: &a [*a]\n",
    "items:\n",
    "kind: List\n",
    "spec:\n",
    "{a: {a: {a: {a: ",
    "[[[[[[",
    "${X}",
    "{{ .Values.x }}",
];

fn damage(text: &str, random: &mut Random) -> String {
    let mut characters: Vec<char> = text.chars().collect();
    for _ in 0..=random.below(4) {
        let at = random.below(characters.len() + 1);
        let end = (at + 1 + random.below(30)).min(characters.len());
        match random.below(7) {
            0 => drop(characters.drain(at..end)),
            1 => characters.truncate(at),
            2 | 3 => drop(characters.splice(at..at, random.pick(ODD).chars())),
            4 => drop(characters.splice(at.min(end)..end, random.pick(ODD).chars())),
            5 => {
                let copy = characters[at.min(end)..end].to_vec();
                let to = random.below(characters.len() + 1);
                characters.splice(to..to, copy);
            }
            _ => {
                // A line moved to the left or right.
                let start = characters[..at].iter().rposition(|next| *next == '\n').map_or(0, |end| end + 1);
                if random.below(2) == 0 {
                    characters.splice(start..start, "  ".chars());
                } else if characters[start..].starts_with(&[' ']) {
                    characters.remove(start);
                }
            }
        }
    }
    characters.into_iter().collect()
}

/// That a place exists in its file: a line of it, and a column of that line or just after it.
fn check_places(diagnostics: &[Diagnostic], text: &str) {
    let mut texts = Texts::default();
    texts.insert("f.yaml".into(), text.into());
    for diagnostic in diagnostics {
        let Some(place) = &diagnostic.place else { panic!("no place: {diagnostic:?}") };
        let line = texts.line(place);
        // The end of a file that ends in a line end is a line of its own.
        let width = line.unwrap_or_else(|| panic!("no such line: {diagnostic:?}")).chars().count();
        assert!(place.line >= 1 && place.column >= 1, "{diagnostic:?}");
        assert!(place.column as usize <= width + 1, "no such column: {diagnostic:?}\n{line:?}");
        assert!(!render(diagnostic, line, true).is_empty());
    }
}

fn check(loaded: &Loaded) {
    check_places(&loaded.all_diagnostics(), &loaded.text);
    let files = std::slice::from_ref(loaded);
    let (set, twice) = ResourceSet::of_files(files);
    check_places(&twice, &loaded.text);
    check_places(&unknown_kinds(files), &loaded.text);
    assert_eq!(set.len() + twice.len(), loaded.objects.len());
    for object in set.iter() {
        assert!(object.errors.iter().chain(&object.notes).all(|found| found.resource.as_ref() == Some(&object.id)));
        assert!(object.place("spec.http[0].no.such[1].field").is_some());
    }
}

#[test]
fn damaged_text_never_panics_and_places_exist() {
    let corpus = corpus();
    for seed in 0..1000 {
        let mut random = Random::new(seed);
        let start: &String = random.pick(&corpus);
        let text = damage(start, &mut random);
        let result = std::panic::catch_unwind(|| {
            check(&load("f.yaml", &text));
            let mesh = load_mesh_config("f.yaml", &text);
            check_places(&mesh.diagnostics, &mesh.text);
        });
        assert!(result.is_ok(), "seed {seed}:\n{text}");
    }
}

#[test]
fn bytes_that_are_no_text_never_panic() {
    let corpus = corpus();
    for seed in 0..500 {
        let mut random = Random::new(seed);
        let start: &String = random.pick(&corpus);
        let mut bytes = start.clone().into_bytes();
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len());
            bytes[at] = random.next() as u8;
        }
        check(&load_bytes("f.yaml", &bytes));
    }
}

/// Each line of it is one field of a struct, or the item of a list.
const FIELDS: &str = "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: a
spec:
  hosts:
  - a.example.com
  gateways:
  - mesh
  http:
  - name: one
    match:
    - uri:
        prefix: /a
      ignoreUriCase: true
      port: 80
    - method:
        exact: GET
    route:
    - destination:
        host: a
        subset: v1
        port:
          number: 80
      weight: 100
    timeout: 5s
    retries:
      attempts: 3
      perTryTimeout: 1s
      retryOn: 5xx
    fault:
      delay:
        fixedDelay: 1s
        percentage:
          value: 10
    corsPolicy:
      allowCredentials: true
      maxAge: 1h
  - redirect:
      uri: /b
      redirectCode: 302
";

#[test]
fn a_misspelt_field_is_named_at_its_place() {
    let lines: Vec<&str> = FIELDS.lines().collect();
    assert_eq!(load("f.yaml", FIELDS).all_diagnostics(), []);
    for (index, line) in lines.iter().enumerate().skip(5) {
        let Some((before, _)) = line.split_once(':') else { continue };
        let key = before.trim_start_matches([' ', '-']);
        let column = before.len() - key.len() + 1;
        let mut damaged: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        damaged[index] = line.replacen(key, &format!("{key}x"), 1);
        let loaded = load("f.yaml", &(damaged.join("\n") + "\n"));
        let named = loaded.objects[0].errors.iter().any(|error| {
            let place = error.place.as_ref().map(|place| (place.line as usize, place.column as usize));
            place == Some((index + 1, column)) && error.suggestion.as_deref() == Some(key)
        });
        assert!(named, "{key}x: {:?}", loaded.all_diagnostics());
    }
}

#[test]
fn a_value_of_a_wrong_type_is_named_at_its_place() {
    let lines: Vec<&str> = FIELDS.lines().collect();
    for (index, line) in lines.iter().enumerate().skip(5) {
        let Some((before, _)) = line.split_once(": ") else { continue };
        let mut damaged: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        damaged[index] = format!("{before}: {{no: [such]}}");
        let loaded = load("f.yaml", &(damaged.join("\n") + "\n"));
        let object = &loaded.objects[0];
        let error = object.errors.iter().find(|error| error.message.starts_with("a mapping is not "));
        let error = error.unwrap_or_else(|| panic!("{line}: {:?}", loaded.all_diagnostics()));
        let place = error.place.as_ref().expect("a place");
        assert_eq!((place.line as usize, place.column as usize), (index + 1, before.len() + 3));
        // The path leads to the same place.
        assert_eq!(object.place(&error.field).map(|place| place.line), Some(place.line));
    }
}
