//! How far all proxies have come: which generation of the snapshot every one of them runs, and what some refuse.
//! `fleet` waits for it before it stops a pod; refusals are printed.

use super::log::Printer;
use amime_control::{Distributor, ProxyStatus};
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::watch;

/// A thousand proxies acknowledge within moments of each other: they are looked at together.
const PAUSE: Duration = Duration::from_millis(20);

/// The longest line of a refusal, in characters.
const LINE: usize = 1000;

/// The newest generation that every connected proxy runs.
pub(crate) type EverybodyRuns = watch::Receiver<u64>;

/// Follows the control plane's side of all streams, until nobody asks any more.
pub(crate) fn follow(distributor: Distributor, printer: Printer) -> EverybodyRuns {
    let (sender, receiver) = watch::channel(0);
    let mut changes = distributor.changes();
    tokio::spawn(async move {
        let mut told = Told::default();
        loop {
            let proxies = distributor.each(|proxy| (runs(proxy), (proxy.connection.number, refusals(proxy))));
            // Where nobody is connected, there is nobody to wait for.
            let lowest = proxies.iter().map(|(runs, _)| *runs).min().unwrap_or(u64::MAX);
            sender.send_if_modified(|before| std::mem::replace(before, lowest) != lowest);
            for text in told.news(proxies.into_iter().map(|(_, refusals)| refusals)) {
                printer.print(text);
            }
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                () = sender.closed() => return,
            }
            tokio::time::sleep(PAUSE).await;
        }
    });
    receiver
}

fn runs(proxy: &ProxyStatus) -> u64 {
    if proxy.stream.in_step { proxy.generation } else { 0 }
}

/// A refusal keeps the last good configuration, and has to be seen: it is a mistake of ours, or a port that
/// another program has.
fn refusals(proxy: &ProxyStatus) -> Vec<String> {
    let rejected = proxy.stream.types.iter().flat_map(|(kind, status)| status.rejected.iter().map(move |r| (kind, r)));
    let line = rejected.map(|(kind, rejected)| {
        let (pod, name, message) = (&proxy.node.name, &rejected.name, &rejected.message);
        one_line(&format!("error: the proxy of {pod} refuses {kind:?} {name}: {message}"))
    });
    line.collect()
}

/// A proxy's words may be anything; the terminal gets a line of text.
fn one_line(text: &str) -> String {
    let mut line = String::new();
    for (at, character) in text.chars().enumerate() {
        if at == LINE {
            line.push('…');
            break;
        }
        if character.is_control() { line.extend(character.escape_default()) } else { line.push(character) }
    }
    line
}

/// What was told of each stream, for as long as it holds.
#[derive(Default)]
struct Told(HashMap<u64, Vec<String>>);

impl Told {
    /// Of these, by the number of the stream, what was not told yet.
    fn news(&mut self, refusals: impl Iterator<Item = (u64, Vec<String>)>) -> Vec<String> {
        let now: HashMap<_, _> = refusals.filter(|(_, texts)| !texts.is_empty()).collect();
        let before = std::mem::replace(&mut self.0, now);
        let is_new = |stream: &u64, text: &String| before.get(stream).is_none_or(|told| !told.contains(text));
        let of_stream = |(stream, texts): (&u64, &Vec<String>)| {
            texts.iter().filter(|text| is_new(stream, text)).cloned().collect::<Vec<_>>()
        };
        let mut news: Vec<_> = self.0.iter().flat_map(of_stream).collect();
        news.sort();
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_once_and_forgotten_with_its_proxy() {
        let mut told = Told::default();
        let now = |of: &[(u64, &str)]| of.iter().map(|(s, text)| (*s, vec![(*text).to_owned()])).collect::<Vec<_>>();
        assert_eq!(told.news(now(&[(1, "a"), (2, "b")]).into_iter()), ["a", "b"]);
        assert!(told.news(now(&[(1, "a"), (2, "b")]).into_iter()).is_empty());
        assert_eq!(told.news(now(&[(1, "c")]).into_iter()), ["c"]);
        assert_eq!(told.0.len(), 1, "nothing is kept of who has gone");
        assert_eq!(told.news(now(&[(1, "c"), (2, "b")]).into_iter()), ["b"]);
    }

    #[test]
    fn words_of_a_proxy_are_a_line_of_text() {
        assert_eq!(one_line("no\n\u{1b}[2Jé"), "no\\n\\u{1b}[2Jé");
        assert_eq!(one_line(&"x".repeat(1 << 20)).chars().count(), LINE + 1);
    }
}
