//! The log of `amime control` and `amime proxy`: what the libraries tell by tracing goes to standard error. Both
//! install it before anything else; the proxy's admin page changes its level.

mod lines;

use anyhow::{Context, anyhow};
use lines::Lines;
use tracing_subscriber::fmt::format::{DefaultFields, Format};
use tracing_subscriber::layer::Layered;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

/// The variable that says what is logged where no flag does.
const VARIABLE: &str = "AMIME_LOG";
const DEFAULT: &str = "warn";

/// What the log is made of, but for its filter.
type Log = Layered<fmt::Layer<Registry, DefaultFields, Format, Lines>, Registry>;

/// Changes what is logged while the process runs.
#[derive(Clone)]
pub(crate) struct LogLevel {
    filter: reload::Handle<EnvFilter, Log>,
    lines: Lines,
}

impl LogLevel {
    /// Installs the log; once in a process.
    pub(crate) fn install(flag: Option<&str>) -> anyhow::Result<Self> {
        let (source, text) = match (flag, std::env::var(VARIABLE)) {
            (Some(text), _) => ("--log-level", text.to_owned()),
            (None, Ok(text)) if !text.is_empty() => (VARIABLE, text),
            _ => ("the default", DEFAULT.to_owned()),
        };
        let filter = parse(&text).with_context(|| format!("{source} {text}"))?;
        let lines = Lines::start().context("the log's thread")?;
        let builder = tracing_subscriber::fmt().with_writer(lines.clone()).with_env_filter(filter);
        let builder = builder.with_filter_reloading();
        let filter = builder.reload_handle();
        builder.try_init().map_err(|error| anyhow!("the log cannot be set up: {error}"))?;
        Ok(Self { filter, lines })
    }

    /// Lines that were lost because nobody took them from standard error.
    pub(crate) fn lost(&self) -> u64 {
        self.lines.lost()
    }

    /// Waits until what was logged is written, but not for long: standard error may stand still.
    pub(crate) fn finish(&self) {
        self.lines.finish();
    }

    /// As `--log-level` reads it.
    pub(crate) fn set(&self, text: &str) -> anyhow::Result<()> {
        self.filter.reload(parse(text)?).context("the log cannot be changed")
    }

    /// What is logged now.
    pub(crate) fn show(&self) -> String {
        self.filter.with_current(ToString::to_string).unwrap_or_default()
    }
}

/// A level, also by Envoy's names, or tracing's filters (`amime_proxy=debug,info`).
fn parse(text: &str) -> anyhow::Result<EnvFilter> {
    let level = match text.trim().to_ascii_lowercase().as_str() {
        "warning" => "warn".to_owned(),
        "critical" => "error".to_owned(),
        known @ ("off" | "error" | "warn" | "info" | "debug" | "trace") => known.to_owned(),
        // A bare word that is no level would be a filter of a crate that nobody has.
        other if !other.contains('=') => {
            return Err(anyhow!("write off, error, warn, info, debug or trace, or filters such as amime_proxy=debug"));
        }
        _ => text.to_owned(),
    };
    EnvFilter::try_new(level).context("write a level, or filters such as amime_proxy=debug,info")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_filters() {
        for (text, shown) in
            [("Warning", "warn"), ("debug", "debug"), ("amime_proxy=trace", "amime_proxy=trace"), ("off", "off")]
        {
            assert_eq!(parse(text).unwrap().to_string(), shown);
        }
        for text in ["loud", "", "a=loud"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
