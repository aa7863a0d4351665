//! A trace as a Mermaid flowchart, for pages that draw them.

use super::human::failed;
use amime_model::explain::{Branch, Hop, State, Trace};
use std::fmt::Write;

pub(crate) fn render(trace: &Trace) -> String {
    let mut chart = Chart { text: "flowchart TD\n".to_owned(), nodes: 0 };
    let mut last = chart.node(&[trace.from.clone(), trace.request.clone()], "([", "])");
    for hop in &trace.hops {
        let node = chart.hop(hop);
        chart.edge(last, node, "");
        last = node;
    }
    let mut ends = Vec::new();
    for branch in &trace.branches {
        ends.extend(chart.branch(last, branch));
    }
    if trace.branches.is_empty() {
        let shape = if failed(trace) { "}}" } else { ")" };
        let open = if failed(trace) { "{{" } else { "(" };
        let node = chart.node(std::slice::from_ref(&trace.summary), open, shape);
        chart.edge(last, node, "");
    }
    for end in ends {
        let _ = writeln!(chart.text, "    class n{end} failing");
    }
    chart.text.push_str("    classDef failing stroke:#c00,stroke-width:2px\n");
    chart.text
}

struct Chart {
    text: String,
    nodes: usize,
}

impl Chart {
    fn node(&mut self, lines: &[String], open: &str, close: &str) -> usize {
        let label = lines.iter().map(|line| escape(line)).collect::<Vec<_>>().join("<br/>");
        let _ = writeln!(self.text, "    n{}{open}\"{label}\"{close}", self.nodes);
        self.nodes += 1;
        self.nodes - 1
    }

    fn hop(&mut self, hop: &Hop) -> usize {
        let mut lines = vec![format!("{}: {}", hop.stage.title(), hop.what)];
        lines.extend(hop.by.as_ref().map(ToString::to_string));
        lines.extend(hop.details.iter().cloned());
        lines.extend(hop.lost.iter().map(|lost| format!("✗ {}: {}", lost.by, lost.why)));
        self.node(&lines, "[", "]")
    }

    fn edge(&mut self, from: usize, to: usize, label: &str) {
        let label = if label.is_empty() { String::new() } else { format!("|\"{}\"|", escape(label)) };
        let _ = writeln!(self.text, "    n{from} -->{label} n{to}");
    }

    /// The last node, where requests fail there.
    fn branch(&mut self, from: usize, branch: &Branch) -> Option<usize> {
        let mut last = self.node(std::slice::from_ref(&branch.destination), "(", ")");
        let mirror = if branch.mirror { " mirrored" } else { "" };
        self.edge(from, last, &format!("{} %{mirror}", branch.percent));
        for hop in &branch.hops {
            let node = self.hop(hop);
            self.edge(last, node, "");
            last = node;
        }
        (branch.state != State::Ready).then_some(last)
    }
}

/// Mermaid's entities for what means something to it.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => escaped.push_str("#quot;"),
            '<' => escaped.push_str("#lt;"),
            '>' => escaped.push_str("#gt;"),
            '#' => escaped.push_str("#35;"),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}
