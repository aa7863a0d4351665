//! Metrics as text, in Prometheus' format or as OpenMetrics.

use super::histogram::Histogram;
use std::fmt::{Display, Write};

/// In which format metrics are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MetricsFormat {
    /// `text/plain; version=0.0.4`.
    #[default]
    Prometheus,
    /// `application/openmetrics-text; version=1.0.0`: the end is marked, and counters are named as it wants.
    OpenMetrics,
}

impl MetricsFormat {
    /// The one that a scraper's `Accept` asks for.
    pub fn accepted(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// The `Content-Type` of the text.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Samples beyond so many bytes are left out, and their number told.
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// The text as it grows, family by family.
pub(crate) struct Exposition {
    format: MetricsFormat,
    text: String,
    most_bytes: usize,
    left_out: u64,
}

impl Exposition {
    pub(crate) fn new(format: MetricsFormat) -> Self {
        Self { format, text: String::new(), most_bytes: MOST_BYTES, left_out: 0 }
    }

    /// `labels` are written already, without braces. A family without samples is left out.
    pub(crate) fn counters<'a, V: Display>(&mut self, name: &str, samples: impl IntoIterator<Item = (&'a str, V)>) {
        let family = match self.format {
            MetricsFormat::Prometheus => Some(name),
            MetricsFormat::OpenMetrics => name.strip_suffix("_total"),
        };
        // What Envoy calls a counter without the suffix is none to OpenMetrics.
        self.family(family.unwrap_or(name), if family.is_some() { "counter" } else { "unknown" }, name, samples);
    }

    pub(crate) fn gauges<'a, V: Display>(&mut self, name: &str, samples: impl IntoIterator<Item = (&'a str, V)>) {
        self.family(name, "gauge", name, samples);
    }

    /// One gauge without labels.
    pub(crate) fn gauge(&mut self, name: &str, value: impl Display) {
        self.gauges(name, [("", value)]);
    }

    /// One counter without labels.
    pub(crate) fn counter(&mut self, name: &str, value: impl Display) {
        self.counters(name, [("", value)]);
    }

    pub(crate) fn histograms<'a>(&mut self, name: &str, samples: impl IntoIterator<Item = (&'a str, &'a Histogram)>) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        self.type_of(name, "histogram");
        for (labels, histogram) in samples {
            if !self.has_room() {
                continue;
            }
            let comma = if labels.is_empty() { "" } else { "," };
            for (bound, count) in histogram.cumulated() {
                line(&mut self.text, format_args!("{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {count}"));
            }
            let (count, sum) = (histogram.count(), histogram.sum());
            line(&mut self.text, format_args!("{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {count}"));
            let (open, close) = if labels.is_empty() { ("", "") } else { ("{", "}") };
            line(&mut self.text, format_args!("{name}_sum{open}{labels}{close} {sum}"));
            line(&mut self.text, format_args!("{name}_count{open}{labels}{close} {count}"));
        }
    }

    fn family<'a, V: Display>(
        &mut self,
        family: &str,
        kind: &str,
        name: &str,
        samples: impl IntoIterator<Item = (&'a str, V)>,
    ) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        self.type_of(family, kind);
        for (labels, value) in samples {
            if !self.has_room() {
                continue;
            }
            match labels {
                "" => line(&mut self.text, format_args!("{name} {value}")),
                labels => line(&mut self.text, format_args!("{name}{{{labels}}} {value}")),
            }
        }
    }

    /// For one more sample, which is counted where there is none.
    fn has_room(&mut self) -> bool {
        let room = self.text.len() < self.most_bytes;
        self.left_out += u64::from(!room);
        room
    }

    fn type_of(&mut self, family: &str, kind: &str) {
        line(&mut self.text, format_args!("# TYPE {family} {kind}"));
    }

    pub(crate) fn into_text(mut self) -> String {
        if self.left_out > 0 {
            self.most_bytes = usize::MAX;
            self.gauge("amime_metrics_left_out", self.left_out);
        }
        if self.format == MetricsFormat::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = text.write_fmt(arguments);
    text.push('\n');
}

/// Labels in the making: `name="value"` with commas between.
#[derive(Debug, Clone, Default)]
pub(crate) struct Labels(String);

impl Labels {
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        if !self.0.is_empty() {
            self.0.push(',');
        }
        self.0.push_str(name);
        self.0.push_str("=\"");
        for c in value.chars() {
            match c {
                '\\' => self.0.push_str("\\\\"),
                '"' => self.0.push_str("\\\""),
                '\n' => self.0.push_str("\\n"),
                c => self.0.push(c),
            }
        }
        self.0.push('"');
        self
    }

    pub(crate) fn into_text(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats() {
        let write = |format| {
            let mut text = Exposition::new(format);
            let labels = Labels::default().with("host", "a\"b\\c").into_text();
            text.counters("requests_total", [(labels.as_str(), 3)]);
            text.counter("envoy_cx", 1);
            text.gauges::<u32>("nothing", []);
            text.gauge("live", 1);
            text.into_text()
        };
        assert_eq!(
            write(MetricsFormat::Prometheus),
            "# TYPE requests_total counter\nrequests_total{host=\"a\\\"b\\\\c\"} 3\n# TYPE envoy_cx counter\nenvoy_cx 1\n# TYPE live gauge\nlive 1\n"
        );
        assert_eq!(
            write(MetricsFormat::OpenMetrics),
            "# TYPE requests counter\nrequests_total{host=\"a\\\"b\\\\c\"} 3\n# TYPE envoy_cx unknown\nenvoy_cx 1\n# TYPE live gauge\nlive 1\n# EOF\n"
        );
        assert_eq!(MetricsFormat::accepted("application/openmetrics-text;version=1.0.0"), MetricsFormat::OpenMetrics);
        assert_eq!(MetricsFormat::accepted("text/plain"), MetricsFormat::Prometheus);
    }

    #[test]
    fn what_is_too_much_is_left_out_and_told() {
        let mut text = Exposition { most_bytes: 100, ..Exposition::new(MetricsFormat::OpenMetrics) };
        text.gauges("a", (0..50).map(|n| ("b=\"c\"", n)));
        let text = text.into_text();
        assert!(text.len() < 200, "{text}");
        assert!(
            text.contains("\na{b=\"c\"} 7\n# TYPE amime_metrics_left_out gauge\namime_metrics_left_out 42\n"),
            "{text}"
        );
    }

    #[test]
    fn a_histogram() {
        let mut histogram = Histogram::default();
        histogram.record(7);
        let mut text = Exposition::new(MetricsFormat::Prometheus);
        text.histograms("took", [("a=\"b\"", &histogram)]);
        let text = text.into_text();
        assert!(text.contains("took_bucket{a=\"b\",le=\"5\"} 0\ntook_bucket{a=\"b\",le=\"10\"} 1\n"), "{text}");
        assert!(
            text.ends_with("took_bucket{a=\"b\",le=\"+Inf\"} 1\ntook_sum{a=\"b\"} 7\ntook_count{a=\"b\"} 1\n"),
            "{text}"
        );
    }
}
