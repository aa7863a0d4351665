use super::*;
use std::fs;

const ONE: &str = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: one\n";
const TWO: &str = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: two\n";

fn names(files: &Files) -> Vec<String> {
    files.loaded().iter().flat_map(|l| &l.objects).map(|o| o.id.name.to_string()).collect()
}

fn open(folder: &Path) -> Files {
    Files::open(vec![Input::Path(folder.to_owned())], BTreeMap::new()).unwrap()
}

#[test]
fn folders_are_read_whole_without_hidden_ones() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("a/b")).unwrap();
    fs::create_dir_all(folder.path().join(".git")).unwrap();
    fs::write(folder.path().join("a/b/1.yml"), ONE).unwrap();
    fs::write(folder.path().join("2.yaml"), TWO).unwrap();
    fs::write(folder.path().join(".git/3.yaml"), ONE).unwrap();
    fs::write(folder.path().join(".2.yaml.swp"), "x").unwrap();
    fs::write(folder.path().join("notes.txt"), "x").unwrap();
    std::os::unix::fs::symlink(folder.path(), folder.path().join("a/circle")).unwrap();
    assert_eq!(names(&open(folder.path())), ["two", "one"]);
}

#[test]
fn nothing_to_read_is_an_error_that_names_the_path() {
    let folder = tempfile::tempdir().unwrap();
    let error = Files::open(vec![Input::Path(folder.path().to_owned())], BTreeMap::new()).unwrap_err();
    assert!(error.to_string().contains("no manifest"), "{error}");
    let error = Files::open(vec![Input::Path(folder.path().join("no.yaml"))], BTreeMap::new()).unwrap_err();
    assert!(error.to_string().contains("no.yaml"), "{error}");
}

#[test]
fn a_file_that_is_cut_off_keeps_its_objects() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.yaml");
    fs::write(&path, format!("{ONE}---\n{TWO}")).unwrap();
    let mut files = open(folder.path());
    let now = Instant::now();
    for cut in ["", "apiVersion: v1\nkind: Names"] {
        fs::write(&path, cut).unwrap();
        assert!(files.refresh(now).changed);
        assert_eq!(names(&files), ["one", "two"]);
        assert_eq!(files.problems().count(), 1);
        assert!(!files.refresh(now).changed, "said once");
    }
    fs::write(&path, TWO).unwrap();
    assert!(files.refresh(now).changed);
    assert_eq!(names(&files), ["two"]);
    assert_eq!(files.problems().count(), 0);
}

#[test]
fn what_cannot_be_parsed_keeps_the_objects_that_are_not_there_now() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.yaml");
    fs::write(&path, format!("{ONE}---\n{TWO}")).unwrap();
    let mut files = open(folder.path());
    fs::write(&path, format!("a: [\n---\n{TWO}")).unwrap();
    assert!(files.refresh(Instant::now()).changed);
    let mut kept = names(&files);
    kept.sort();
    assert_eq!(kept, ["one", "two"]);
}

#[test]
fn a_file_that_is_away_for_a_moment_is_not_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.yaml");
    fs::write(&path, ONE).unwrap();
    fs::write(folder.path().join("other.yaml"), "# nothing\n").unwrap();
    let mut files = open(folder.path());
    let start = Instant::now();
    fs::rename(&path, folder.path().join("a.yaml~")).unwrap();
    let away = files.refresh(start);
    assert_eq!(away, Refreshed { changed: false, again: Some(start + GONE_AFTER) });
    assert_eq!(names(&files), ["one"]);
    fs::write(&path, TWO).unwrap();
    assert_eq!(files.refresh(start + GONE_AFTER), Refreshed { changed: true, again: None });
    assert_eq!(names(&files), ["two"]);
    fs::remove_file(&path).unwrap();
    files.refresh(start);
    assert!(files.refresh(start + GONE_AFTER).changed);
    assert!(names(&files).is_empty());
}

#[test]
fn an_input_that_loses_all_its_files_keeps_them() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("mesh");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("a.yaml"), ONE).unwrap();
    let mut files = open(&folder);
    let start = Instant::now();
    fs::remove_file(folder.join("a.yaml")).unwrap();
    for (after, gone) in [(GONE_AFTER * 2, false), (GONE_AFTER * 4, true)] {
        if gone {
            fs::remove_dir(&folder).unwrap();
        }
        assert!(files.refresh(start + after).changed, "it is said");
        assert!(!files.refresh(start + after * 2).changed, "once");
        assert_eq!(names(&files), ["one"]);
        assert_eq!(files.problems().count(), 1);
    }
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("b.yaml"), TWO).unwrap();
    files.refresh(start);
    files.refresh(start + GONE_AFTER);
    assert_eq!(names(&files), ["two"]);
    assert_eq!(files.problems().count(), 0);
}

#[test]
fn a_file_that_is_moved_is_one_change() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("b.yaml"), ONE).unwrap();
    let mut files = open(folder.path());
    let now = Instant::now();
    // Either name may come first in the order of names.
    for (from, to) in [("b.yaml", "a.yaml"), ("a.yaml", "c.yaml")] {
        fs::rename(folder.path().join(from), folder.path().join(to)).unwrap();
        assert_eq!(files.refresh(now), Refreshed { changed: true, again: None });
        assert_eq!(names(&files), ["one"]);
        assert!(!files.refresh(now + GONE_AFTER).changed);
    }
}

#[test]
fn what_is_kept_gives_way_to_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.yaml");
    fs::write(&path, format!("{ONE}---\n{TWO}")).unwrap();
    let mut files = open(folder.path());
    let now = Instant::now();
    // One of its objects goes to another file; what is left cannot be parsed.
    fs::write(&path, "a: [b\n").unwrap();
    fs::write(folder.path().join("b.yaml"), ONE).unwrap();
    assert!(files.refresh(now).changed);
    assert_eq!(names(&files), ["two", "one"]);
    // Then the whole file goes, and one of its objects comes back elsewhere before it is gone for good.
    fs::remove_file(&path).unwrap();
    assert!(files.refresh(now).again.is_some());
    assert_eq!(names(&files), ["two", "one"]);
    fs::write(folder.path().join("c.yaml"), TWO).unwrap();
    assert_eq!(files.refresh(now), Refreshed { changed: true, again: None });
    assert_eq!(names(&files), ["one", "two"]);
}

#[test]
fn whole_lines_that_are_taken_off_are_an_edit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.yaml");
    fs::write(&path, format!("{ONE}---\n{TWO}")).unwrap();
    let mut files = open(folder.path());
    for edit in [format!("{ONE}---\n{TWO}").trim_end(), ONE.trim_end()] {
        fs::write(&path, edit).unwrap();
        assert!(files.refresh(Instant::now()).changed);
        assert_eq!(files.problems().count(), 0, "{edit:?}");
    }
    assert_eq!(names(&files), ["one"]);
}

#[test]
fn a_file_without_a_last_line_end_may_be_cut_off_too() {
    assert!(!is_cut_off(b"a: 1\nb: 22", b"a: 1\nb: 2"), "may as well be an edit");
    assert!(is_cut_off(b"a: 1\nb: 2\nc: 3", b"a: 1\nb:"));
    assert!(is_cut_off(b"a: 1\nb: 2\n", b"a: 1\nb:"));
    assert!(!is_cut_off(b"a: 1\nb: 2", b"a: 1"));
    assert!(!is_cut_off(b"a: 1\nb: 2", b"a: 1\n"));
}

#[test]
fn a_misspelt_kind_keeps_the_object() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.yaml");
    fs::write(&path, format!("{ONE}---\n{TWO}")).unwrap();
    let mut files = open(folder.path());
    for broken in [ONE.replace("Namespace", "Namespce"), ONE.replace("name:", "nam:")] {
        fs::write(&path, format!("{broken}---\n{TWO}")).unwrap();
        assert!(files.refresh(Instant::now()).changed);
        let mut kept = names(&files);
        kept.sort();
        assert_eq!(kept, ["one", "two"], "{broken}");
    }
}

/// For the calling thread alone: from now on it may read no more than any user.
fn without_privileges() {
    use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none }).unwrap();
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
}

#[test]
fn a_folder_below_that_cannot_be_listed_is_named_and_harms_only_itself() {
    without_privileges();
    let folder = tempfile::tempdir().unwrap();
    let (lost, other) = (folder.path().join("lost+found"), folder.path().join("other"));
    fs::create_dir(&lost).unwrap();
    fs::create_dir(&other).unwrap();
    fs::write(folder.path().join("a.yaml"), ONE).unwrap();
    fs::write(other.join("b.yaml"), TWO).unwrap();
    set_mode(&lost, 0);
    let mut files = open(folder.path());
    assert_eq!(names(&files), ["one", "two"]);
    let named = |files: &Files, folder: &Path| {
        files.problems().any(|problem| problem.message.starts_with(&folder.display().to_string()))
    };
    assert!(named(&files, &lost), "{:?}", files.problems().collect::<Vec<_>>());
    assert!(!files.folders().contains(&lost), "it could not be watched");

    set_mode(&other, 0);
    let start = Instant::now();
    assert_eq!(files.refresh(start), Refreshed { changed: true, again: None }, "the folder above tells when it may be");
    assert!(!files.refresh(start + GONE_AFTER).changed);
    assert_eq!(names(&files), ["one", "two"], "what was known below it goes on");
    assert!(named(&files, &other) && files.folders().contains(&other));
    set_mode(&lost, 0o700);
    set_mode(&other, 0o700);
    assert!(files.refresh(start).changed);
    assert_eq!(files.problems().count(), 0);
}

#[test]
fn an_input_that_cannot_be_listed_is_followed_on_and_looked_at_again() {
    without_privileges();
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("mesh");
    fs::create_dir_all(folder.join("below")).unwrap();
    fs::write(folder.join("below/a.yaml"), ONE).unwrap();
    let mut files = open(&folder);
    let followed = files.folders().clone();
    assert!(followed.contains(&folder.join("below")));
    set_mode(&folder, 0);
    let start = Instant::now();
    assert_eq!(files.refresh(start), Refreshed { changed: true, again: Some(start + GONE_AFTER) });
    assert_eq!(files.folders(), &followed);
    set_mode(&folder, 0o700);
    assert_eq!(files.refresh(start), Refreshed { changed: true, again: None });
}

#[test]
fn a_file_that_cannot_be_read_for_a_moment_is_looked_at_again() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), ONE).unwrap();
    let mut files = open(folder.path());
    fs::remove_file(folder.path().join("a.yaml")).unwrap();
    // It cannot be opened, and nothing tells when it can be.
    let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("a.yaml")).unwrap();
    let start = Instant::now();
    assert_eq!(files.refresh(start), Refreshed { changed: true, again: Some(start + GONE_AFTER) });
    assert_eq!(names(&files), ["one"]);
}

#[test]
fn a_file_that_was_emptied_while_no_process_looked_keeps_its_objects_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.yaml");
    fs::write(&path, ONE).unwrap();
    let remembered = open(folder.path()).in_force();
    fs::write(&path, "").unwrap();
    let mut files = Files::open(vec![Input::Path(folder.path().to_owned())], remembered).unwrap();
    assert_eq!(names(&files), ["one"]);
    assert_eq!(files.problems().map(|problem| problem.code).collect::<Vec<_>>(), [TRUNCATED]);
    fs::write(&path, "# nothing\n").unwrap();
    files.refresh(Instant::now());
    assert!(names(&files).is_empty());
}
