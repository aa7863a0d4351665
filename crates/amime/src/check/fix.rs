//! `--fix`: mends what `model::fix` can mend until nothing more can be, shows what changes and writes it.

use super::{Inputs, Outcome, Suppressions, find};
use amime_model::diagnostic::codes;
use amime_model::fix::fix;
use amime_model::resource::{Loaded, load};
use anstyle::{AnsiColor, Color, Style};
use anyhow::{Context, ensure};
use similar::TextDiff;
use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A field within a field, and so on: each round mends what the one before made readable.
const ROUNDS: usize = 100;

/// Manifests with less wrong in them.
pub(crate) struct Repaired {
    /// What is found in them now; none where nothing was mended.
    pub(crate) outcome: Option<Outcome>,
    /// How many findings were mended.
    pub(crate) findings: usize,
    /// Texts before and after, by file.
    changed: BTreeMap<Arc<str>, (Arc<str>, Arc<str>)>,
}

/// Mends in memory alone. `outcome` is what was found in the files.
pub(crate) fn repair(
    mut files: Vec<Loaded>,
    outcome: &Outcome,
    inputs: &Inputs<'_>,
    suppressions: &Suppressions,
) -> anyhow::Result<Repaired> {
    let (mut findings, mut left) = (0, None);
    let mut changed: BTreeMap<Arc<str>, (Arc<str>, Arc<str>)> = BTreeMap::new();
    for _ in 0..ROUNDS {
        let mut mended = false;
        // Of a file that is no text the part before is all that was read.
        for file in files.iter_mut().filter(|file| file.diagnostics.iter().all(|found| found.code != codes::SYNTAX)) {
            let Some(fixed) = fix(&file.file, &file.text, &left.as_ref().unwrap_or(outcome).diagnostics) else {
                continue;
            };
            findings += fixed.findings.len();
            mended = true;
            let before = file.text.clone();
            *file = load(&file.file, &fixed.text);
            changed.entry(file.file.clone()).or_insert((before, file.text.clone())).1 = file.text.clone();
        }
        if !mended {
            break;
        }
        left = Some(find(&files, inputs, suppressions)?);
    }
    Ok(Repaired { outcome: left, findings, changed })
}

const HEAD: Style = Style::new().bold();
const PLACE: Style = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Cyan)));
const GONE: Style = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Red)));
const NEW: Style = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Green)));

impl Repaired {
    /// What changes, as `patch` reads it; with colour for people.
    pub(crate) fn diff(&self, colour: bool) -> String {
        let mut out = String::new();
        for (file, (before, after)) in &self.changed {
            let diff = TextDiff::from_lines(&**before, &**after).unified_diff().header(file, file).to_string();
            if !colour {
                out.push_str(&diff);
                continue;
            }
            for (index, line) in diff.lines().enumerate() {
                // What a file says must not steer the terminal.
                let line: String =
                    line.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect();
                let style = match line.bytes().next() {
                    _ if index < 2 => HEAD,
                    Some(b'@') => PLACE,
                    Some(b'-') => GONE,
                    Some(b'+') => NEW,
                    _ => Style::new(),
                };
                out.push_str(&format!("{style}{line}{style:#}\n"));
            }
        }
        out
    }

    /// `fixed 3 findings in 2 files`.
    pub(crate) fn summary(&self, written: bool) -> String {
        let count = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
        let verb = if written { "fixed" } else { "would fix" };
        format!("{verb} {} in {}", count(self.findings, "finding"), count(self.changed.len(), "file"))
    }

    /// Writes each file that changes: whole, or not at all.
    ///
    /// # Errors
    /// Where one cannot be written, or is no longer what was read; those before it are written then.
    pub(crate) fn write(&self) -> anyhow::Result<()> {
        let mut written = HashSet::new();
        for (file, (before, after)) in &self.changed {
            // The file itself, where its name is a link; once, where it has two names.
            let path = fs::canonicalize(&**file).with_context(|| format!("opening {file}"))?;
            if written.insert(path.clone()) {
                replace(&path, before, after).with_context(|| format!("writing {file}"))?;
            }
        }
        Ok(())
    }
}

/// The new text beside the old one, on the disk; then its name. The mode and the owner stay.
fn replace(path: &Path, before: &str, after: &str) -> anyhow::Result<()> {
    let mark = mark(path, before)?;
    let next = beside(path)?;
    let made = make(path, &next, &format!("{mark}{after}"));
    // Somebody may have saved it meanwhile.
    let moved = made.and_then(|()| self::mark(path, before)).and_then(|_| Ok(fs::rename(&next, path)?));
    if moved.is_err() {
        let _ = fs::remove_file(&next);
    }
    moved?;
    let folder = path.parent().context("it has no folder")?;
    Ok(File::open(folder)?.sync_all()?)
}

/// The byte order mark that a file begins with, if any; an error where the rest is not that text.
fn mark(path: &Path, text: &str) -> anyhow::Result<&'static str> {
    const MARK: &str = "\u{feff}";
    let now = fs::read_to_string(path)?;
    let (mark, rest) = now.strip_prefix(MARK).map_or(("", now.as_str()), |rest| (MARK, rest));
    ensure!(rest == text, "it has changed since it was read");
    Ok(mark)
}

/// Hidden, so that nobody takes it for a manifest.
fn beside(path: &Path) -> anyhow::Result<PathBuf> {
    let name = path.file_name().context("it has no name")?.to_string_lossy();
    Ok(path.with_file_name(format!(".{name}.{}", std::process::id())))
}

fn make(path: &Path, next: &Path, text: &str) -> anyhow::Result<()> {
    let old = fs::metadata(path)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(next)?;
    file.write_all(text.as_bytes())?;
    // The group alone where the owner cannot be given away, else as new files are.
    let _ = fchown(&file, Some(old.uid()), Some(old.gid())).or_else(|_| fchown(&file, None, Some(old.gid())));
    file.set_permissions(old.permissions())?;
    Ok(file.sync_all()?)
}
