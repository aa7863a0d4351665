//! `amime test --watch`: runs the tests again when something changed in the folders of the files that they are about. Told
//! by the system, not by looking every so often.

use super::files;
use super::run::Inputs;
use crate::manifests::{self, STDIN};
use crate::signals::Signals;
use amime_control::source::{Watch, listing};
use amime_model::mesh_test::load_tests;
use anyhow::{Context, bail, ensure};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// An editor's save is several changes: they are over when none has come for so long.
const BURST: Duration = Duration::from_millis(50);

/// Where something is written all the time, the tests are run all the same.
const LONGEST: Duration = Duration::from_secs(2);

/// Calls `again` at the start and after each change, until Ctrl-C.
///
/// # Errors
/// Where the folders cannot be watched.
pub(crate) fn watch(inputs: &Inputs<'_>, mut again: impl FnMut(usize)) -> anyhow::Result<()> {
    ensure!(
        !inputs.manifests.iter().any(|path| path == Path::new(STDIN)),
        "standard input is read once: --watch needs files"
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting")?;
    let _entered = runtime.enter();
    let mut signals = Signals::start()?;
    let mut watch = Watch::start();
    loop {
        // Before they are read: what is saved meanwhile is read again.
        let mut folders = folders(inputs);
        while watch.follow(&folders) {
            folders = self::folders(inputs);
        }
        if let Some(why) = &watch.failure {
            bail!("the files cannot be watched: {why}");
        }
        again(folders.len());
        let ended = runtime.block_on(async {
            tokio::select! {
                () = watch.changed() => {}
                () = signals.next() => return true,
            }
            let burst = async { while tokio::time::timeout(BURST, watch.changed()).await.is_ok() {} };
            let _ = tokio::time::timeout(LONGEST, burst).await;
            false
        });
        if ended {
            return Ok(());
        }
    }
}

/// Every folder in which a change could be one of the tests or manifests; what cannot be read now may come to be there.
fn folders(inputs: &Inputs<'_>) -> BTreeSet<PathBuf> {
    let mut paths: Vec<PathBuf> = [inputs.paths, inputs.manifests].concat();
    paths.extend(inputs.mesh_config.cloned());
    for file in files::find(inputs.paths).unwrap_or_default() {
        let Ok(bytes) = manifests::read(&file) else { continue };
        let tests = load_tests(&file.to_string_lossy(), &String::from_utf8_lossy(&bytes));
        paths.extend(files::manifests(&tests, inputs.manifests));
        paths.extend(files::mesh_config(&tests, inputs.mesh_config.map(PathBuf::as_path)));
    }
    let mut folders = BTreeSet::new();
    for path in paths {
        folders.extend(listing::manifests(&path).map(|found| found.folders).unwrap_or_default());
        if !path.is_dir() {
            folders.insert(listing::parent(&path));
        }
    }
    folders
}
