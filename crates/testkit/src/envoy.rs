//! Where the Envoy is that tests run: `scripts/envoy.sh` puts it into the build directory, `AMIME_ENVOY` overrides.

use std::path::PathBuf;

/// The binary. None, with a line that says so, where there is none.
pub fn binary() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("AMIME_ENVOY") {
        return Some(PathBuf::from(named));
    }
    // The test binary lies in a subfolder of the build directory.
    let test = std::env::current_exe().ok()?;
    let found = test.ancestors().map(|folder| folder.join("envoy/envoy")).find(|path| path.is_file());
    if found.is_none() {
        println!("skipped: there is no Envoy (scripts/envoy.sh installs one, AMIME_ENVOY names another)");
    }
    found
}
