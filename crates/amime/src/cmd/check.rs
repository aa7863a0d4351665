//! `amime check`: reads manifests, finds what is wrong in them, mends what it can where it is asked to, prints the rest
//! and says by its exit code whether it is bad.

use crate::check::{Inputs, Output, Repaired, Suppressions, find, print, repair};
use crate::manifests;
use amime_model::diagnostic::{Severity, codes};
use amime_model::resource::CHARTS;
use anyhow::{Context, ensure};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The configuration file that is read where there is one.
const CONFIG: &str = ".amime-check.yaml";

/// Find what is wrong in manifests, before they are applied
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  amime check k8s/                                  everything in a folder
  helm template shop | amime check -                rendered manifests, from standard input
  amime check --values istiod=mesh/istiod.yaml          how the mesh itself is installed
  amime check k8s/ -o sarif > check.sarif           for code scanning
  amime check k8s/ --fail-on warning                warnings fail too
  amime check k8s/ --fix --dry-run                  what --fix would change

Exit codes: 0 nothing at or above --fail-on, 1 something, 2 the command line is wrong or a file cannot be read.

A finding is left out by an annotation of its object, with a reason:
  amime.dev/ignore: AM-T7 used by every team
or by .amime-check.yaml (or --config FILE):
  ignore:
    - {code: AM-T7, resource: VirtualService shop/*, reason: used by every team}")]
pub(crate) struct Args {
    /// Files and folders of Istio and Kubernetes YAML or JSON; - is standard input
    #[arg(required_unless_present_any = ["explain", "values"], value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// How findings are printed
    #[arg(short, long, value_enum, default_value_t = Output::Human)]
    output: Output,

    /// The severity from which on the exit code is 1
    #[arg(long, value_enum, default_value_t = FailOn::Error, value_name = "SEVERITY")]
    fail_on: FailOn,

    /// Leave out the practices (codes AM-S and AM-T)
    #[arg(long)]
    no_practices: bool,

    /// MeshConfig: a file of its fields, or a ConfigMap `istio` that holds them
    #[arg(long, value_name = "FILE")]
    mesh_config: Option<PathBuf>,

    /// MeshNetworks: a file of its fields
    #[arg(long, value_name = "FILE")]
    mesh_networks: Option<PathBuf>,

    /// Values of one of Istio's charts, istiod or gateway, as they are installed with (may be given several times)
    #[arg(long, value_name = "CHART=FILE", value_parser = chart_values)]
    values: Vec<(String, PathBuf)>,

    /// What to leave out, and why [default: .amime-check.yaml, where it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Mend what has one remedy, in the files themselves, and show what changed
    #[arg(long, conflicts_with = "explain")]
    fix: bool,

    /// With --fix: show what would change, and change nothing
    #[arg(long, requires = "fix")]
    dry_run: bool,

    /// Print the page of a code, and check nothing
    #[arg(long, value_name = "CODE", conflicts_with = "paths")]
    explain: Option<String>,
}

fn chart_values(given: &str) -> Result<(String, PathBuf), String> {
    match given.split_once('=') {
        Some((chart, file)) if CHARTS.contains(&chart) && !file.is_empty() => Ok((chart.to_owned(), file.into())),
        _ => Err(format!("CHART=FILE is expected, CHART being {}", CHARTS.join(" or "))),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum FailOn {
    Error,
    Warning,
    Note,
    Never,
}

impl FailOn {
    fn severity(self) -> Option<Severity> {
        match self {
            Self::Error => Some(Severity::Error),
            Self::Warning => Some(Severity::Warning),
            Self::Note => Some(Severity::Info),
            Self::Never => None,
        }
    }
}

/// What cannot be read is a mistake of the command line, not a finding.
const USAGE: u8 = 2;

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match check(args) {
        Ok(code) => Ok(code),
        Err(error) => {
            super::report(&error);
            Ok(ExitCode::from(USAGE))
        }
    }
}

fn check(args: &Args) -> anyhow::Result<ExitCode> {
    if let Some(code) = &args.explain {
        let known = codes::find(code).with_context(|| format!("there is no code {code}"))?;
        print!("{}", codes::page(known));
        return Ok(ExitCode::SUCCESS);
    }
    let suppressions = match &args.config {
        Some(path) => Suppressions::read(path)?,
        None if Path::new(CONFIG).exists() => Suppressions::read(Path::new(CONFIG))?,
        None => Suppressions::default(),
    };
    let inputs = Inputs {
        mesh_config: args.mesh_config.as_ref(),
        mesh_networks: args.mesh_networks.as_ref(),
        values: &args.values,
        practices: !args.no_practices,
    };
    let from_stdin = args.paths.iter().any(|path| path == Path::new(manifests::STDIN));
    ensure!(!args.fix || !from_stdin, "--fix changes files: standard input is none");
    let files = manifests::load_all(&args.paths)?;
    let mut outcome = find(&files, &inputs, &suppressions)?;
    if args.fix {
        let repaired = repair(files, &outcome, &inputs, &suppressions)?;
        if !args.dry_run {
            repaired.write()?;
        }
        show(&repaired, args)?;
        outcome = repaired.outcome.filter(|_| !args.dry_run).unwrap_or(outcome);
    }
    std::io::stdout().lock().write_all(print(&outcome, args.output, has_colour(&std::io::stdout())).as_bytes())?;
    let fails = args.fail_on.severity().is_some_and(|from| outcome.fails(from));
    Ok(if fails { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// For people before the findings; where a program reads these, beside them.
fn show(repaired: &Repaired, args: &Args) -> anyhow::Result<()> {
    let (out, err) = (std::io::stdout(), std::io::stderr());
    let text = |colour: bool| format!("{}{}\n\n", repaired.diff(colour), repaired.summary(!args.dry_run));
    match args.output {
        Output::Human => out.lock().write_all(text(has_colour(&out)).as_bytes())?,
        _ => err.lock().write_all(text(has_colour(&err)).as_bytes())?,
    }
    Ok(())
}

fn has_colour(to: &impl IsTerminal) -> bool {
    to.is_terminal() && std::env::var_os("NO_COLOR").is_none()
}
