use super::*;
use std::fs;

const TEXT: &str = "rootNamespace: one\noutboundTrafficPolicy:\n  mode: REGISTRY_ONLY\n";

fn root(file: &MeshFile) -> &str {
    &file.good().expect("a good one").0.root_namespace
}

fn codes(file: &MeshFile) -> Vec<&str> {
    file.diagnostics().map(|finding| finding.code).collect()
}

#[test]
fn what_is_half_written_or_empty_keeps_what_it_was_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mesh.yaml");
    fs::write(&path, TEXT).unwrap();
    let now = Instant::now();
    for remembered in [None, Some(TEXT.into())] {
        fs::write(&path, TEXT).unwrap();
        let restarts = remembered.is_some();
        let mut file = MeshFile::remembered(path.clone(), remembered);
        if !restarts {
            assert!(file.refresh(now).changed);
        }
        let before = file.good().unwrap().0.clone();
        for cut in ["", "rootNamespace: one\noutboundTraf", "rootNamesp"] {
            fs::write(&path, cut).unwrap();
            assert!(file.refresh(now).changed, "{cut:?}");
            assert!(!file.refresh(now).changed, "said once");
            assert_eq!(codes(&file), [TRUNCATED], "{cut:?}");
            assert_eq!(file.good().unwrap().0, before, "{cut:?}");
            assert!(file.take_error().is_none());
        }
        fs::write(&path, "rootNamespace: two\n").unwrap();
        assert!(file.refresh(now).changed);
        assert_eq!((root(&file), codes(&file)), ("two", vec![]));
    }
}

#[test]
fn one_that_is_away_is_said_after_a_moment_and_looked_for_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mesh.yaml");
    fs::write(&path, TEXT).unwrap();
    let start = Instant::now();
    let mut file = MeshFile::remembered(path.clone(), None);
    file.refresh(start);
    fs::rename(&path, folder.path().join("mesh.yaml~")).unwrap();
    assert_eq!(file.refresh(start), Refreshed { changed: false, again: Some(start + GONE_AFTER) });
    let later = start + GONE_AFTER;
    assert_eq!(file.refresh(later), Refreshed { changed: true, again: Some(later + GONE_AFTER) });
    assert_eq!((root(&file), codes(&file)), ("one", vec![UNREADABLE]));
    fs::write(&path, TEXT).unwrap();
    assert_eq!(file.refresh(later), Refreshed { changed: true, again: None });
    assert!(codes(&file).is_empty());
}
