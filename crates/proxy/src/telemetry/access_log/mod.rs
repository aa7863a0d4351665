//! Access logs: what a listener's configuration wants written of its requests and connections.
//!
//! A worker writes each line into a buffer of its own when a request has ended; `file` takes the buffers to disk.

mod entry;
pub(crate) mod file;
mod format;
mod json;
mod kept;
mod operator;

pub(crate) use entry::Entry;
pub(crate) use file::Lines;
pub(crate) use kept::{Head, Kept};

use crate::flags::Flags;
use amime_model::config::{AccessLog, LogFormat};
use file::LogFile;
use format::Format;
use json::Node;
use kept::Source;
use std::io;
use std::sync::Arc;

/// The logs of a connection manager, a TCP proxy or a listener.
pub(crate) struct Logs {
    logs: Vec<Log>,
    /// What of the messages' heads they name.
    pub(crate) sources: Vec<Source>,
}

struct Log {
    file: Arc<LogFile>,
    written: Written,
    /// Only what has one of them; everything where there are none.
    flags: Vec<Flags>,
}

enum Written {
    Text(Format),
    Json(Node),
}

/// Envoy's format where the configuration has none.
const DEFAULT: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" \
    %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% \
    %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \
    \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\"\n";

impl Logs {
    /// None where nothing is logged. An error where a file cannot be opened.
    pub(crate) fn of(configs: &[AccessLog]) -> io::Result<Option<Self>> {
        let mut all = Self { logs: Vec::new(), sources: Vec::new() };
        for config in configs {
            // What is not understood cannot be written; the control plane was told when it was decoded.
            let AccessLog::File { path, format, flags } = config else { continue };
            let written = match format {
                LogFormat::Text(text) => {
                    let text = if text.is_empty() { DEFAULT } else { text };
                    Written::Text(Format::compile(text, &mut all.sources))
                }
                LogFormat::Json(fields) => Written::Json(Node::compile(fields, &mut all.sources)),
            };
            let flags = flags.iter().filter_map(|flag| Flags::parse(flag)).collect();
            all.logs.push(Log { file: LogFile::open(path)?, written, flags });
        }
        Ok((!all.logs.is_empty()).then_some(all))
    }

    /// Writes what has ended into the worker's buffers.
    pub(crate) fn write(&self, entry: &Entry<'_>, lines: &Lines) {
        for log in &self.logs {
            if !log.flags.is_empty() && !log.flags.iter().any(|flag| entry.flags.contains(*flag)) {
                continue;
            }
            lines.write(&log.file, |line| match &log.written {
                Written::Text(format) => format.write(entry, line),
                Written::Json(node) => {
                    node.write(entry, line);
                    line.push('\n');
                }
            });
        }
    }
}

#[cfg(test)]
#[path = "access_log_tests.rs"]
mod tests;
