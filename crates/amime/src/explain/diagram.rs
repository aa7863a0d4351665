//! A trace drawn with boxes: the way from top to bottom, destinations beside each other where the terminal is wide
//! enough, else below each other.

use crate::inspect::table::printable;
use amime_model::explain::{Branch, Hop, Stage, State, Trace};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Where the terminal does not say how wide it is.
pub(crate) const WIDTH: usize = 100;
/// Between two pictures beside each other.
const GAP: usize = 2;
const NARROWEST: usize = 24;

/// Lines of equal width; what comes in and goes out does so at `middle`.
#[derive(Debug, Clone)]
struct Picture {
    lines: Vec<String>,
    width: usize,
    middle: usize,
}

pub(crate) fn render(trace: &Trace, width: usize) -> String {
    let width = width.max(NARROWEST);
    let start = boxed("", &[trace.from.clone(), trace.request.clone()], width);
    let shown = trace.hops.iter().filter(|hop| is_drawn(hop));
    let mut picture = shown.fold(start, |above, hop| below(above, None, drawn(hop, width)));
    if trace.branches.is_empty() {
        picture = below(picture, None, boxed("verdict", std::slice::from_ref(&trace.summary), width));
    } else {
        picture = fork(picture, &trace.branches, width);
    }
    let mut text: String = picture.lines.iter().map(|line| format!("{}\n", line.trim_end())).collect();
    text.push_str(&format!("\n{}\n", trace.summary));
    if let Some(remedy) = &trace.remedy {
        text.push_str(&format!("remedy: {remedy}\n"));
    }
    text
}

/// What `-o human` says of these is no place on the way.
fn is_drawn(hop: &Hop) -> bool {
    !matches!(hop.stage, Stage::Weights | Stage::LoadBalancing)
}

fn drawn(hop: &Hop, width: usize) -> Picture {
    let mut lines = vec![hop.what.clone()];
    if let Some(by) = &hop.by {
        lines.push(by.object.clone());
        lines.extend(by.place.clone());
    }
    if matches!(hop.stage, Stage::Endpoints | Stage::Pod | Stage::Edits) {
        lines.extend(hop.details.iter().cloned());
    }
    boxed(hop.stage.title(), &lines, width)
}

fn fork(above: Picture, branches: &[Branch], width: usize) -> Picture {
    let share = (width - GAP * (branches.len() - 1)).checked_div(branches.len()).unwrap_or(width);
    let beside = share >= NARROWEST;
    let room = if beside { share } else { width };
    let pictures: Vec<Picture> = branches.iter().map(|branch| of_branch(branch, room)).collect();
    if let [only] = pictures.as_slice() {
        return below(above, None, only.clone());
    }
    if !beside {
        let of = |above, (branch, picture): (&Branch, Picture)| below(above, Some(label(branch)), picture);
        return branches.iter().zip(pictures).fold(above, of);
    }
    let labels: Vec<String> = branches.iter().map(label).collect();
    joined(above, &["│"], side_by_side(&pictures, &labels))
}

fn label(branch: &Branch) -> String {
    format!("{} %{}", branch.percent, if branch.mirror { " mirrored" } else { "" })
}

fn of_branch(branch: &Branch, width: usize) -> Picture {
    let title = if branch.state == State::Ready { "destination" } else { "destination: 503" };
    let head = boxed(title, std::slice::from_ref(&branch.destination), width);
    branch.hops.iter().filter(|hop| is_drawn(hop)).fold(head, |above, hop| below(above, None, drawn(hop, width)))
}

/// A box with a title in its upper edge; long lines are broken.
fn boxed(title: &str, lines: &[String], width: usize) -> Picture {
    let most = width.saturating_sub(4).max(1);
    let lines: Vec<String> = lines.iter().flat_map(|line| broken(&printable(line.clone()), most)).collect();
    let longest = lines.iter().map(|line| line.width()).chain([title.width() + 2]).max().unwrap_or(0);
    let inner = longest + 2;
    let title = if title.is_empty() { String::new() } else { format!(" {title} ") };
    let mut drawn = vec![format!("┌{title}{}┐", "─".repeat(inner - title.width()))];
    drawn.extend(lines.iter().map(|line| format!("│ {line}{} │", " ".repeat(longest - line.width()))));
    drawn.push(format!("└{}┘", "─".repeat(inner)));
    Picture { lines: drawn, width: inner + 2, middle: (inner + 2) / 2 }
}

/// At blanks where there are any, else anywhere.
fn broken(line: &str, most: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut current = String::new();
    for word in line.split(' ') {
        if !current.is_empty() && current.width() + 1 + word.width() <= most {
            current.push(' ');
        } else if !current.is_empty() {
            lines.push(std::mem::take(&mut current));
        }
        for c in word.chars() {
            if current.width() + c.width().unwrap_or(0) > most {
                lines.push(std::mem::take(&mut current));
            }
            current.push(c);
        }
    }
    lines.push(current);
    lines
}

/// One under the other, with an arrow between their middles.
fn below(above: Picture, label: Option<String>, under: Picture) -> Picture {
    let stem = label.map_or_else(|| "│".to_owned(), |label| format!("│ {label}"));
    joined(above, &[&stem, "▼"], under)
}

/// With these lines between their middles.
fn joined(above: Picture, between: &[&str], under: Picture) -> Picture {
    let middle = above.middle.max(under.middle);
    let (left, right) = (middle - above.middle, middle - under.middle);
    let width = (left + above.width).max(right + under.width);
    let at = |line: &str, left: usize| {
        let text = format!("{}{line}", " ".repeat(left));
        let rest = width.saturating_sub(text.width());
        text + &" ".repeat(rest)
    };
    let mut lines: Vec<String> = above.lines.iter().map(|line| at(line, left)).collect();
    lines.extend(between.iter().map(|line| at(line, middle)));
    lines.extend(under.lines.iter().map(|line| at(line, right)));
    Picture { width: lines.iter().map(|line| line.width()).max().unwrap_or(width), lines, middle }
}

/// Beside each other under one line from which they hang, each with its label.
fn side_by_side(pictures: &[Picture], labels: &[String]) -> Picture {
    let mut starts = Vec::new();
    let mut width = 0;
    for picture in pictures {
        starts.push(width);
        width += picture.width + GAP;
    }
    width -= GAP;
    let stems: Vec<usize> = pictures.iter().zip(&starts).map(|(picture, start)| start + picture.middle).collect();
    let (first, last) = (stems[0], stems[stems.len() - 1]);
    let middle = (first + last) / 2;
    let beam = (0..width).map(|column| match column {
        column if column < first || column > last => ' ',
        column if column == first => '┌',
        column if column == last => '┐',
        column if stems.contains(&column) && column == middle => '┼',
        column if stems.contains(&column) => '┬',
        column if column == middle => '┴',
        _ => '─',
    });
    let mut lines = vec![beam.collect::<String>()];
    let at_stems = |texts: &dyn Fn(usize) -> String| {
        let mut line = String::new();
        for (index, stem) in stems.iter().enumerate() {
            let missing = stem.saturating_sub(line.width());
            line.push_str(&" ".repeat(missing));
            line.push_str(&texts(index));
        }
        line
    };
    lines.push(at_stems(&|index| format!("│ {}", labels[index])));
    lines.push(at_stems(&|_| "▼".to_owned()));
    let height = pictures.iter().map(|picture| picture.lines.len()).max().unwrap_or(0);
    for row in 0..height {
        let mut line = String::new();
        for (picture, start) in pictures.iter().zip(&starts) {
            let missing = start.saturating_sub(line.width());
            line.push_str(&" ".repeat(missing));
            line.push_str(picture.lines.get(row).map_or("", String::as_str));
        }
        lines.push(line);
    }
    let width = lines.iter().map(|line| line.width()).max().unwrap_or(width);
    Picture { lines, width, middle }
}
