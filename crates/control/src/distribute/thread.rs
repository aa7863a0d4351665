//! A thread of which others can tell that it has ended, be it by a panic.

use tokio::sync::watch;

/// Starts it; what comes back has no sender any more once the thread has ended.
///
/// # Errors
/// Where no thread can be started.
pub(super) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<watch::Receiver<()>> {
    let (lives, alive) = watch::channel(());
    let run = move || {
        // Dropped when a panic unwinds, too.
        let _lives = lives;
        work();
    };
    std::thread::Builder::new().name(name.into()).spawn(run)?;
    Ok(alive)
}

/// Returns when that thread has ended.
pub(super) async fn ended(mut alive: watch::Receiver<()>) {
    while alive.changed().await.is_ok() {}
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn a_panic_is_an_end_that_is_seen() {
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let work = move || {
            wait.recv().expect("the word");
            panic!("as a mistake in a translation would");
        };
        let alive = super::spawn("amime-test", work).expect("a thread");
        assert!(alive.has_changed().is_ok(), "it waits");
        go.send(()).expect("it waits");
        super::ended(alive).await;
    }
}
