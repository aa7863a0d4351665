//! Live lines from the proxies' records, and everything else that `up` prints while it runs: one thread writes, so
//! that a terminal that stands still holds up no request and no line is torn.

use super::live::{Line, Widths};
use amime_model::config::{Direction, Origin};
use amime_proxy::{Flags, Protocol, RequestRecord};
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use time::{OffsetDateTime, UtcOffset};

/// How many batches of lines may wait for the terminal; more are counted and left out.
const WAITING: usize = 1024;

/// How long the last lines may take.
const LAST: Duration = Duration::from_secs(2);

enum Message {
    /// Text to be printed as it is.
    Text(String),
    /// Lines of requests that were left out before.
    Records(Vec<RequestRecord>),
    Stop,
}

/// Where to print. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Printer {
    sender: mpsc::Sender<Message>,
    /// How many batches of records wait to be printed.
    waiting: Arc<AtomicUsize>,
}

impl Printer {
    /// Prints nothing.
    pub(crate) fn silent() -> Self {
        Self { sender: mpsc::channel().0, waiting: Arc::default() }
    }

    /// Prints text, ended by a new line, in its turn. Never waits: the mesh does not stop where a terminal does.
    pub(crate) fn print(&self, text: impl Into<String>) {
        // The thread ends last; what comes after it has nobody to be read by.
        let _ = self.sender.send(Message::Text(text.into()));
    }
}

/// The printing thread.
pub(crate) struct Log {
    printer: Printer,
    end: mpsc::Receiver<()>,
}

impl Log {
    /// `offset` is that of local time, asked for before there were threads.
    pub(crate) fn start(offset: UtcOffset) -> std::io::Result<Self> {
        let (sender, receiver) = mpsc::channel();
        let (ended, end) = mpsc::channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let printer = Printer { sender, waiting: waiting.clone() };
        std::thread::Builder::new().name("log".into()).spawn(move || {
            write(&receiver, &waiting, offset);
            // Where nobody waits any more, the process has ended without.
            let _ = ended.send(());
        })?;
        Ok(Self { printer, end })
    }

    pub(crate) fn printer(&self) -> Printer {
        self.printer.clone()
    }

    /// Prints a line for each record that comes, until all senders are gone. Where the terminal does not keep up,
    /// lines are left out and their number is told.
    pub(crate) async fn follow(printer: Printer, mut records: tokio::sync::mpsc::Receiver<Vec<RequestRecord>>) {
        let mut left_out = 0;
        while let Some(batch) = records.recv().await {
            if printer.waiting.load(Ordering::Relaxed) >= WAITING {
                left_out += batch.len();
                continue;
            }
            if left_out > 0 {
                printer.print(format!("… {left_out} requests are not shown"));
                left_out = 0;
            }
            printer.waiting.fetch_add(1, Ordering::Relaxed);
            // The thread ends last; what comes after it has nobody to be read by.
            let _ = printer.sender.send(Message::Records(batch));
        }
    }

    /// Prints what is waiting, then ends. A terminal that stands still is not waited for.
    pub(crate) fn finish(self) {
        // An error: the thread has ended.
        let _ = self.printer.sender.send(Message::Stop);
        let _ = self.end.recv_timeout(LAST);
    }
}

fn write(messages: &mpsc::Receiver<Message>, waiting: &AtomicUsize, offset: UtcOffset) {
    let mut out = anstream::stdout();
    let mut widths = Widths::default();
    while let Ok(message) = messages.recv() {
        // A reader of the output that went away (`| head`) does not end the mesh.
        match message {
            Message::Text(text) => {
                let _ = writeln!(out, "{}", text.trim_end_matches('\n'));
            }
            Message::Records(batch) => {
                waiting.fetch_sub(1, Ordering::Relaxed);
                let lines = batch.iter().filter_map(|record| line(record, offset));
                let text: String = lines.map(|line| line.render(&mut widths) + "\n").collect();
                let _ = out.write_all(text.as_bytes());
            }
            Message::Stop => break,
        }
        let _ = out.flush();
    }
}

/// A request is shown by the proxy that sent it on; by the one in front of the application only where that one
/// made the answer itself, for then it is the one that knows why. That a caller went away its own proxy tells.
fn line(record: &RequestRecord, offset: UtcOffset) -> Option<Line> {
    let inbound = record.direction == Direction::Inbound;
    if inbound && (record.flags.is_empty() || record.flags == Flags::DC) {
        return None;
    }
    let own = &record.proxy;
    let what = match record.protocol {
        Protocol::Tcp => format!("TCP {}", record.downstream.local),
        Protocol::Http10 | Protocol::Http11 | Protocol::Http2 => {
            let request = &record.request;
            let method = if request.method().is_empty() { "-" } else { request.method() };
            format!("{method} {}{}", request.authority(), request.path())
        }
    };
    let to = match &record.upstream {
        Some(upstream) => match &upstream.endpoint {
            Some(endpoint) if !endpoint.workload.workload.is_empty() => {
                format!("{}/{}", endpoint.workload.namespace, endpoint.workload.workload)
            }
            _ => upstream.address.to_string(),
        },
        None => record.cluster.as_deref().map(destination).unwrap_or_default(),
    };
    let inbound = if inbound { "inbound " } else { "" };
    Some(Line {
        time: OffsetDateTime::from(record.started).to_offset(offset),
        from: format!("{inbound}{}/{}", own.namespace, own.workload),
        what,
        rule: record.origin().map(rule).unwrap_or_default(),
        to,
        status: (record.status != 0).then_some(record.status),
        flag: if record.flags.is_empty() { String::new() } else { record.flags.to_string() },
        took: record.duration,
    })
}

/// `VirtualService default/reviews http[1]`: the rule, without the field in it.
fn rule(origin: &Origin) -> String {
    let path = origin.path.strip_prefix("spec.").unwrap_or(&origin.path);
    let short = Origin { path: path.split('.').next().unwrap_or_default().to_owned(), ..origin.clone() };
    short.to_string()
}

/// `reviews.default v2` of `outbound|9080|v2|reviews.default.svc.cluster.local`: where it would have gone.
fn destination(cluster: &str) -> String {
    let mut parts = cluster.splitn(4, '|').skip(2);
    let (Some(subset), Some(host)) = (parts.next(), parts.next()) else { return cluster.to_owned() };
    let host = host.strip_suffix(".svc.cluster.local").unwrap_or(host);
    format!("{host} {subset}").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_named_without_the_field_in_it() {
        let origin = |path: &str| Origin {
            kind: "VirtualService".into(),
            namespace: "default".into(),
            name: "reviews".into(),
            path: path.into(),
        };
        assert_eq!(rule(&origin("spec.http[1].route[0]")), "VirtualService default/reviews http[1]");
        assert_eq!(rule(&origin("")), "VirtualService default/reviews");
    }

    #[test]
    fn a_cluster_that_nobody_answers_for_is_named_by_host_and_subset() {
        assert_eq!(destination("outbound|80|v2|reviews.default.svc.cluster.local"), "reviews.default v2");
        assert_eq!(destination("outbound|80||a.example.com"), "a.example.com");
        assert_eq!(destination("PassthroughCluster"), "PassthroughCluster");
    }
}
