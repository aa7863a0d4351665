//! Spelling: which known word a misspelt one was meant to be. `decode` and `load` ask.

/// The known word that a misspelt one is closest to, where it is close enough to be meant.
pub(crate) fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = fold(word);
    if word.is_empty() || word.len() > 64 {
        return None;
    }
    let distances = known.into_iter().map(|candidate| (distance(&word, &fold(candidate)), candidate));
    // The first of equally close ones, so that the answer is stable.
    let (distance, candidate) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance <= (word.len().max(candidate.len()) / 3).min(3)).then_some(candidate)
}

/// Whether a word is surely a misspelt form of the other: a letter amiss, or two in a long word.
pub(crate) fn is_slip(word: &str, meant: &str) -> bool {
    let (word, meant) = (fold(word), fold(meant));
    word.len() <= 64 && distance(&word, &meant) <= if word.len().min(meant.len()) < 5 { 1 } else { 2 }
}

/// `per_try_timeout` to `perTryTimeout`, as protobuf makes JSON names.
pub(super) fn camel_case(name: &str) -> String {
    let mut camel = String::with_capacity(name.len());
    let mut upper = false;
    for character in name.chars() {
        if character == '_' {
            upper = true;
        } else {
            camel.push(if upper { character.to_ascii_uppercase() } else { character });
            upper = false;
        }
    }
    camel
}

fn fold(word: &str) -> Vec<char> {
    word.chars().filter(|character| !matches!(character, '_' | '-')).flat_map(char::to_lowercase).collect()
}

/// Insertions, deletions, substitutions and swaps of neighbours.
fn distance(one: &[char], other: &[char]) -> usize {
    let width = other.len() + 1;
    let mut table: Vec<usize> = (0..width).collect();
    table.resize(width * (one.len() + 1), 0);
    for row in 1..=one.len() {
        table[row * width] = row;
        for column in 1..width {
            let same = one[row - 1] == other[column - 1];
            let above = (row - 1) * width + column;
            let mut best = (table[above] + 1).min(table[row * width + column - 1] + 1);
            best = best.min(table[above - 1] + usize::from(!same));
            if row > 1 && column > 1 && one[row - 1] == other[column - 2] && one[row - 2] == other[column - 1] {
                best = best.min(table[(row - 2) * width + column - 2] + 1);
            }
            table[row * width + column] = best;
        }
    }
    table[table.len() - 1]
}

#[cfg(test)]
mod tests {
    use super::{camel_case, closest};

    #[test]
    fn close_words() {
        let fields = ["timeout", "retries", "match", "route", "rewrite"];
        assert_eq!(closest("timout", fields), Some("timeout"));
        assert_eq!(closest("mathc", fields), Some("match"));
        assert_eq!(closest("Route", fields), Some("route"));
        assert_eq!(closest("routes", fields), Some("route"));
        assert_eq!(closest("something", fields), None);
        assert_eq!(closest("", fields), None);
    }

    #[test]
    fn protobuf_names() {
        assert_eq!(camel_case("consecutive_5xx_errors"), "consecutive5xxErrors");
        assert_eq!(camel_case("mesh_mTLS"), "meshMTLS");
        assert_eq!(camel_case("mirror_percent"), "mirrorPercent");
    }
}
