//! `amime diff`: reads the command line and both sides, asks `amime_model::diff`, prints, and says by its exit code
//! whether a request changes.

use crate::diff::sides::{self, Spec};
use crate::diff::{Output, print};
use crate::explain::{requests, sources};
use crate::inspect::output;
use crate::manifests;
use amime_model::diff::{Side, diff};
use amime_model::explain::Question;
use anyhow::Context;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  amime diff k8s/ changed/                      two folders
  amime diff HEAD k8s/                          what is not yet committed
  amime diff main..my-branch -- k8s/            two revisions
  helm template shop | amime diff k8s/ -        against rendered manifests
  amime diff HEAD k8s/ --requests access.log --from gateway
                                                weighed by yesterday's traffic
  amime diff main..HEAD -o markdown -- k8s/     for a merge request

Exit codes: 0 no request changes, 1 some do, or nobody evaluates what differs, 2 the command line is wrong or something
cannot be read.";

/// Tell what a change of configuration does to requests
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// BEFORE and AFTER: files, folders, - for standard input, or revisions of git; or both revisions as A..B
    #[arg(required = true, num_args = 1..=2, value_name = "BEFORE AFTER")]
    sides: Vec<String>,

    /// What is read of revisions; the folder that the command runs in unless said
    #[arg(last = true, value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// MeshConfig: a file of its fields, or a ConfigMap `istio` that holds them; given twice, that of before and of after
    #[arg(long, value_name = "FILE")]
    mesh_config: Vec<PathBuf>,

    /// Requests that were seen, one a line as `explain` reads them: JSON or an access log; - is standard input
    #[arg(long, value_name = "FILE")]
    requests: Option<PathBuf>,

    /// Whose access log it is: a workload ([namespace/]name), `gateway` or `internet`
    #[arg(long, value_name = "WORKLOAD|gateway|internet", requires = "requests")]
    from: Option<String>,

    /// How the difference is printed
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// What cannot be read is a mistake of the command line, and no difference.
const USAGE: u8 = 2;

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match compare(args) {
        Ok(code) => Ok(code),
        Err(error) => {
            super::report(&error);
            Ok(ExitCode::from(USAGE))
        }
    }
}

fn compare(args: &Args) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(args.mesh_config.len() <= 2, "--mesh-config is given twice at most: of before, and of after");
    let (before, after) = sides::specs(&args.sides, &args.paths)?;
    let standard_input = [&before, &after].into_iter().filter(|spec| **spec == Spec::Path(manifests::STDIN.into()));
    let inputs = standard_input.count() + usize::from(args.requests.as_deref() == Some(Path::new(manifests::STDIN)));
    anyhow::ensure!(inputs <= 1, "standard input can be read once: one - alone");
    let mesh_before = args.mesh_config.first();
    let mesh_after = args.mesh_config.last();
    let read = |spec: &Spec, mesh: Option<&PathBuf>| sources::of_loaded(sides::load(spec)?, mesh.map(PathBuf::as_path));
    let (one, other) = (read(&before, mesh_before)?, read(&after, mesh_after)?);
    let side = |manifests: &'_ sources::Manifests| manifests.has_workloads;
    let observed = args.requests.as_deref().map(|path| observed(path, args.from.as_deref())).transpose()?;
    let difference = diff(
        &Side { snapshot: &one.snapshot, for_tools: &one.for_tools, has_workloads: side(&one) },
        &Side { snapshot: &other.snapshot, for_tools: &other.for_tools, has_workloads: side(&other) },
        observed.as_deref(),
    );
    let asked = print::Asked { spec: &after, mesh_config: mesh_after };
    output::print(&print::print(&difference, &asked, args.output)?)?;
    Ok(if difference.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The ways in which each line can be meant.
fn observed(path: &Path, from: Option<&str>) -> anyhow::Result<Vec<Vec<Question>>> {
    let mut all = Vec::new();
    for (number, line) in manifests::open(path)?.lines().enumerate() {
        let place = || format!("{}:{}", path.display(), number + 1);
        let line = line.with_context(place)?;
        if line.trim().is_empty() {
            continue;
        }
        if let Some(asked) = requests::parse(&line, number + 1, from).with_context(place)? {
            all.push(asked.questions);
        }
    }
    Ok(all)
}
