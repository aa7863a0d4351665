//! Whatever bytes a manifest or a mesh configuration holds, reading it ends, and its findings can be printed.
#![no_main]

use amime_model::diagnostic::{Texts, render};
use amime_model::resource::{load_bytes, load_mesh_config};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let loaded = load_bytes("fuzz.yaml", bytes);
    let mut texts = Texts::default();
    texts.insert("fuzz.yaml".into(), loaded.text.clone());
    for diagnostic in loaded.all_diagnostics() {
        let line = diagnostic.place.as_ref().and_then(|place| texts.line(place));
        let _ = render(&diagnostic, line, false);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = load_mesh_config("fuzz.yaml", text);
    }
});
