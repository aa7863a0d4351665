//! Asks every case, and notes which rules decide.

use super::live::{Live, Sent};
use super::{CaseReport, FileReport, Outcome, Report, RuleReport, Sending, files};
use crate::explain::sources::{self, Manifests};
use crate::manifests;
use amime_model::diagnostic::Texts;
use amime_model::explain::{Explainer, Stage, Trace, Verdict};
use amime_model::mesh_test::{Case, Invariant, LoadedTests, Mismatch, breach, judge, load_tests, rules};
use anyhow::ensure;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What to test.
pub(crate) struct Inputs<'a> {
    /// Test files, and folders of them.
    pub(crate) paths: &'a [PathBuf],
    /// Manifests, in place of those that the test files are about.
    pub(crate) manifests: &'a [PathBuf],
    pub(crate) mesh_config: Option<&'a PathBuf>,
    /// Send the requests too.
    pub(crate) live: bool,
}

/// Manifests and MeshConfig: files of equal ones are tested against one mesh.
type MeshKey = (Vec<PathBuf>, Option<PathBuf>);

/// Runs the tests; what cannot be read is an error.
pub(crate) fn run(inputs: &Inputs<'_>) -> anyhow::Result<Report> {
    let begun = Instant::now();
    let mut texts = Texts::default();
    let mut by_mesh: BTreeMap<MeshKey, Vec<(usize, LoadedTests)>> = BTreeMap::new();
    for (index, path) in files::find(inputs.paths)?.iter().enumerate() {
        let text = String::from_utf8_lossy(&manifests::read(path)?).into_owned();
        let tests = load_tests(&path.to_string_lossy(), &text);
        texts.insert(tests.file.clone(), tests.text.clone());
        let mesh_config = files::mesh_config(&tests, inputs.mesh_config.map(PathBuf::as_path));
        let key = (files::manifests(&tests, inputs.manifests), mesh_config);
        by_mesh.entry(key).or_default().push((index, tests));
    }
    let mut reports = Vec::new();
    let mut reached_of_all = BTreeMap::new();
    for ((paths, mesh_config), all) in by_mesh {
        let mut mesh = sources::manifests(&paths, mesh_config.as_deref())?;
        let live = inputs.live.then(|| start(&mesh, &paths, mesh_config.as_deref())).transpose()?;
        if let Some(live) = &live {
            // With the addresses that its pods have on this machine.
            mesh.snapshot = live.snapshot.clone();
        }
        let mut tester = Tester { mesh: &mesh, explainer: mesh.explainer(), reached: BTreeSet::new(), live };
        reports.extend(all.into_iter().map(|(index, tests)| (index, tester.file(tests))));
        for origin in rules(&mesh.snapshot) {
            let rule = origin.to_string();
            let reached = tester.reached.contains(&rule);
            *reached_of_all.entry((mesh.snapshot.place(origin), rule)).or_insert(false) |= reached;
        }
    }
    reports.sort_by_key(|(index, _)| *index);
    let rules = reached_of_all.into_iter().map(|((place, rule), reached)| RuleReport { rule, place, reached });
    Ok(Report {
        files: reports.into_iter().map(|(_, report)| report).collect(),
        texts,
        rules: rules.collect(),
        took: begun.elapsed(),
    })
}

struct Tester<'m> {
    mesh: &'m Manifests,
    explainer: Explainer<'m>,
    /// The rules that decided something.
    reached: BTreeSet<String>,
    live: Option<Live>,
}

/// A running mesh of the manifests.
fn start(mesh: &Manifests, paths: &[PathBuf], mesh_config: Option<&Path>) -> anyhow::Result<Live> {
    let named = paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
    ensure!(mesh.has_workloads(), "no workload is in {named}, so nobody would answer: test without --live");
    Live::start(paths, mesh_config)
}

impl Tester<'_> {
    fn file(&mut self, tests: LoadedTests) -> FileReport {
        let broken = tests.has_errors();
        let mut cases = Vec::new();
        if !broken {
            cases.extend(tests.cases.iter().map(|case| self.case(case)));
            cases.extend(tests.invariants.iter().map(|invariant| self.invariant(invariant)));
        }
        FileReport { file: tests.file.to_string(), diagnostics: tests.diagnostics, cases }
    }

    fn case(&mut self, case: &Case) -> CaseReport {
        let mut live = None;
        let outcome = self.outcome(case, &mut live).unwrap_or_else(Outcome::Unanswered);
        CaseReport { name: case.name.clone(), place: case.place.clone(), outcome, live }
    }

    fn outcome(&mut self, case: &Case, sending: &mut Option<Sending>) -> Result<Outcome, String> {
        let question = case.request.question(&case.expect).ok_or("the request has no URL")?;
        let verdict = self.explainer.explain(&question).map_err(|error| error.to_string())?;
        self.note(&verdict);
        let mut mismatches = judge(&case.request, &case.expect, &verdict);
        if let Some(live) = &mut self.live {
            let dialled = self.explainer.dialled(&question).map_err(|error| error.to_string())?;
            let sent = live.send(&question, dialled.as_ref(), &verdict).map_err(|error| format!("{error:#}"))?;
            *sending = Some(match sent {
                Sent::Not(why) => Sending::Not(why),
                Sent::Sent { requests, disagreements } => {
                    mismatches.extend(disagreements.into_iter().map(|found| differs(&verdict, found)));
                    Sending::Sent(requests)
                }
            });
        }
        if mismatches.is_empty() && !self.mesh.has_policies() {
            return Ok(Outcome::Passed { not_evaluated: Vec::new() });
        }
        let trace = self.explainer.trace(&question).map_err(|error| error.to_string())?;
        Ok(match mismatches.is_empty() {
            true => Outcome::Passed { not_evaluated: not_evaluated(&trace) },
            false => Outcome::Failed { mismatches, trace: Some(Box::new(trace)) },
        })
    }

    fn invariant(&mut self, invariant: &Invariant) -> CaseReport {
        let Invariant { name, place, never } = invariant;
        let outcome = match breach(never, &mut self.explainer, &self.mesh.snapshot) {
            Err(why) => Outcome::Unanswered(why),
            Ok(None) => Outcome::Passed { not_evaluated: Vec::new() },
            Ok(Some(breach)) => {
                let mismatch = Mismatch { field: "never".into(), expected: never.sentence(), found: breach.found() };
                let trace = breach.question().and_then(|question| self.explainer.trace(question).ok());
                Outcome::Failed { mismatches: vec![mismatch], trace: trace.map(Box::new) }
            }
        };
        CaseReport { name: name.clone(), place: place.clone(), outcome, live: None }
    }

    fn note(&mut self, verdict: &Verdict) {
        if let Some(object) = &verdict.object {
            self.reached.insert(format!("{} {}/{} {}", object.kind, object.namespace, object.name, object.rule));
        }
    }
}

/// The mesh did something else than `explain` says.
fn differs(verdict: &Verdict, found: String) -> Mismatch {
    Mismatch { field: "live".into(), expected: format!("as explained: {}", verdict.summary()), found }
}

/// The security policies that are for the destinations.
fn not_evaluated(trace: &Trace) -> Vec<String> {
    let hops = trace.branches.iter().flat_map(|branch| &branch.hops).filter(|hop| hop.stage == Stage::Policies);
    let policies = hops.flat_map(|hop| &hop.details).filter_map(|detail| detail.strip_prefix("not evaluated: "));
    policies.map(str::to_owned).collect::<BTreeSet<_>>().into_iter().collect()
}
