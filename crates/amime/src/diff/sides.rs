//! The two sides: manifests of files and folders, standard input, or a revision of git, which the `git` program reads.

use crate::manifests::{STDIN, load_all};
use amime_control::source::listing::is_manifest;
use amime_model::resource::{Loaded, load_bytes};
use anyhow::Context;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};

/// Where one side is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Spec {
    /// A file, a folder, or standard input.
    Path(PathBuf),
    Revision {
        revision: String,
        /// Of the folder that the command runs in; it alone where there are none.
        paths: Vec<PathBuf>,
    },
}

/// What was written on the command line. What is there as a file or folder is that, unless paths are given for revisions.
pub(crate) fn specs(sides: &[String], paths: &[PathBuf]) -> anyhow::Result<(Spec, Spec)> {
    let there = |text: &str| text == STDIN || (paths.is_empty() && Path::new(text).exists());
    let revision =
        |revision: &str, paths: &[PathBuf]| Spec::Revision { revision: revision.to_owned(), paths: paths.to_vec() };
    match sides {
        [range] if !there(range) => {
            let (one, other) = range
                .split_once("..")
                .with_context(|| format!("{range}: BEFORE and AFTER are needed, or two revisions of git as A..B"))?;
            // As git has it, what is not written is HEAD.
            let or_head = |name: &str| if name.is_empty() { "HEAD".to_owned() } else { name.to_owned() };
            Ok((revision(&or_head(one), paths), revision(&or_head(other), paths)))
        }
        [one] => anyhow::bail!("{one} is one side; AFTER is missing"),
        [one, other] => Ok(match (there(one), there(other)) {
            (true, true) => (Spec::Path(one.into()), Spec::Path(other.into())),
            // Of the revision what the path is now.
            (false, true) => (revision(one, &of_same(paths, other)), Spec::Path(other.into())),
            (true, false) => (Spec::Path(one.into()), revision(other, &of_same(paths, one))),
            (false, false) => (revision(one, paths), revision(other, paths)),
        }),
        // clap asks for one or two.
        _ => anyhow::bail!("BEFORE and AFTER are needed"),
    }
}

fn of_same(paths: &[PathBuf], other: &str) -> Vec<PathBuf> {
    if paths.is_empty() && other != STDIN { vec![other.into()] } else { paths.to_vec() }
}

/// Reads one side.
pub(crate) fn load(spec: &Spec) -> anyhow::Result<Vec<Loaded>> {
    match spec {
        Spec::Path(path) => load_all(std::slice::from_ref(path)),
        Spec::Revision { revision, paths } => of_revision(revision, paths),
    }
}

fn of_revision(revision: &str, paths: &[PathBuf]) -> anyhow::Result<Vec<Loaded>> {
    let commit = git(&["rev-parse", "--verify", "--quiet", &format!("{revision}^{{tree}}")])
        .with_context(|| format!("{revision} is neither a file nor a folder nor a revision of git"))?;
    let commit = String::from_utf8_lossy(&commit).trim().to_owned();
    let mut list = Command::new("git");
    list.args(["ls-tree", "-r", "-z", &commit, "--"]).args(paths);
    let listed = output(&mut list)?;
    let mut files = Vec::new();
    for entry in listed.split(|byte| *byte == 0).filter(|entry| !entry.is_empty()) {
        let entry = String::from_utf8_lossy(entry);
        // `mode type object TAB path`; links and submodules are no manifests.
        let Some((about, path)) = entry.split_once('\t') else { continue };
        let [mode, "blob", object] = about.split(' ').collect::<Vec<_>>()[..] else { continue };
        let path = PathBuf::from(path);
        let hidden =
            |part: Component<'_>| matches!(part, Component::Normal(name) if name.to_string_lossy().starts_with('.'));
        let wanted = paths.contains(&path) || (is_manifest(&path) && !path.components().any(hidden));
        if mode.starts_with("100") && wanted {
            files.push((path, object.to_owned()));
        }
    }
    if files.is_empty() {
        anstream::eprintln!("{revision} has no manifests there");
    }
    files.sort();
    contents(revision, &files)
}

/// All at once, for a program started for each file would take its time.
fn contents(revision: &str, files: &[(PathBuf, String)]) -> anyhow::Result<Vec<Loaded>> {
    let mut child = Command::new("git")
        .args(["cat-file", "--batch"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("starting git")?;
    let (Some(mut input), Some(out)) = (child.stdin.take(), child.stdout.take()) else {
        anyhow::bail!("git has no pipes");
    };
    let asked: String = files.iter().map(|(_, object)| format!("{object}\n")).collect();
    // Beside the reading, for both pipes are short.
    let writer = std::thread::spawn(move || input.write_all(asked.as_bytes()));
    let mut out = BufReader::new(out);
    let mut loaded = Vec::new();
    for (path, _) in files {
        let mut head = String::new();
        out.read_line(&mut head)?;
        let size: usize = head
            .trim_end()
            .rsplit(' ')
            .next()
            .unwrap_or_default()
            .parse()
            .with_context(|| format!("git cannot read {} of {revision}: {}", path.display(), head.trim_end()))?;
        let mut text = vec![0; size + 1];
        out.read_exact(&mut text)?;
        text.pop();
        loaded.push(load_bytes(&format!("{revision}:{}", path.display()), &text));
    }
    drop(out);
    writer.join().map_err(|_| anyhow::anyhow!("git was not asked"))??;
    child.wait()?;
    Ok(loaded)
}

fn git(arguments: &[&str]) -> anyhow::Result<Vec<u8>> {
    output(Command::new("git").args(arguments))
}

fn output(command: &mut Command) -> anyhow::Result<Vec<u8>> {
    let done = command.output().context("starting git")?;
    anyhow::ensure!(done.status.success(), "git: {}", String::from_utf8_lossy(&done.stderr).trim());
    Ok(done.stdout)
}
