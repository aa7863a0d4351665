//! Who may answer when: a request is right where an origin answered it that was allowed at some time while it was
//! under way.

use amime_testkit::load::{Lane, Outcome};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Origins that may answer, for each class of requests (the lane's name up to its first blank).
pub type Allowed = BTreeMap<String, BTreeSet<String>>;

/// What was allowed, from when on.
pub struct Oracle {
    times: Vec<(Instant, Allowed)>,
}

/// What came of a load.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub requests: usize,
    pub failed: Vec<String>,
    pub wrong: Vec<String>,
}

impl Oracle {
    pub fn new(allowed: Allowed) -> Self {
        Self { times: vec![(Instant::now(), allowed)] }
    }

    /// A change is about to be saved: from now on both what was and what will be is right.
    pub fn saving(&mut self, next: &Allowed) {
        let mut both = self.current().clone();
        for (class, names) in next {
            both.entry(class.clone()).or_default().extend(names.iter().cloned());
        }
        self.times.push((Instant::now(), both));
    }

    /// All proxies run the change: only what it says is right.
    pub fn settled(&mut self, next: Allowed) {
        self.times.push((Instant::now(), next));
    }

    pub fn current(&self) -> &Allowed {
        &self.times.last().expect("never empty").1
    }

    /// Whether a request of this class that ran from `began` to `ended` may have been answered by `by`.
    fn allows(&self, class: &str, by: &str, began: Instant, ended: Instant) -> bool {
        let in_force = |index: usize| {
            let from = self.times[index].0;
            let until = self.times.get(index + 1).map(|next| next.0);
            from <= ended && until.is_none_or(|until| began <= until) || index == 0 && began <= from
        };
        let said = |allowed: &Allowed| allowed.get(class).is_some_and(|names| names.contains(by));
        (0..self.times.len()).any(|index| in_force(index) && said(&self.times[index].1))
    }

    /// How long after the last change that forbade it `by` answered a request, where it did.
    fn late_by(&self, class: &str, by: &str, began: Instant) -> Option<Duration> {
        let forbidden =
            self.times.iter().rev().find(|(from, allowed)| {
                *from <= began && !allowed.get(class).is_some_and(|names| names.contains(by))
            })?;
        Some(began - forbidden.0)
    }

    pub fn judge(&self, lanes: &[Lane], outcomes: &[Outcome]) -> Verdict {
        let mut verdict = Verdict { requests: outcomes.len(), ..Verdict::default() };
        let first = self.times[0].0;
        for outcome in outcomes {
            let name = &lanes[outcome.lane].name;
            let class = name.split(' ').next().unwrap_or_default();
            let at = outcome.began.saturating_duration_since(first);
            match &outcome.result {
                Err(error) => verdict.failed.push(format!("{name} at {at:?}: {error}")),
                Ok(by) if !self.allows(class, by, outcome.began, outcome.ended) => {
                    let late = self.late_by(class, by, outcome.began);
                    verdict.wrong.push(format!("{name} at {at:?}: answered by {by}, {late:?} after it was right"));
                }
                Ok(_) => {}
            }
        }
        verdict
    }
}

/// Origins of these versions, for each class.
pub fn allowed<'a>(classes: &[(&str, &[&str])], origins: impl Iterator<Item = &'a str> + Clone) -> Allowed {
    let of = |versions: &[&str]| {
        let is = |name: &&str| versions.contains(&name.split('-').next().unwrap_or_default());
        origins.clone().filter(is).map(str::to_owned).collect()
    };
    classes.iter().map(|(class, versions)| ((*class).to_owned(), of(versions))).collect()
}
