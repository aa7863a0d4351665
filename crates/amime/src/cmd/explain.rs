//! `amime explain`: reads the files and the requests, asks `model::explain`, and prints an answer for each request.

use amime_model::conflict;
use amime_model::diagnostic::Severity;
use amime_model::explain::{Explainer, Question, Verdict, with_pods};
use amime_model::resource::{MeshConfig, ResourceSet, load_bytes, load_mesh_config};
use amime_model::snapshot::{Held, Snapshot};
use anyhow::Context;
use serde::Serialize;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Tell what happens to requests, without sending them
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  amime explain -f k8s/ --requests requests.jsonl -o json
  echo '{\"from\":\"default/productpage-v1\",\"url\":\"http://reviews:9080/\"}' | amime explain -f . --requests -

A request is one line of JSON:
  from       namespace/pod whose application sends it, through its sidecar (a workload's name will do)
  at         namespace/pod of the gateway at which it arrives, instead of from
  url        http://, https:// or tcp://
  address    the IP address that is dialled; else what the mesh's DNS says
  method, headers, authority, id")]
pub(crate) struct Args {
    /// Files and folders of Istio and Kubernetes YAML or JSON; - is standard input
    #[arg(short = 'f', long = "filename", required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// MeshConfig: a file of its fields, or a ConfigMap `istio` that holds them
    #[arg(long, value_name = "FILE")]
    mesh_config: Option<PathBuf>,

    /// Requests, one a line; - is standard input
    #[arg(long, value_name = "FILE")]
    requests: PathBuf,

    /// How answers are printed
    #[arg(short, long, value_enum, default_value_t = Output::Json)]
    output: Output,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Output {
    Json,
}

#[derive(Serialize)]
struct Answer<'a> {
    id: &'a str,
    verdict: &'a Verdict,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let resources = read_resources(&args.paths)?;
    let mesh = read_mesh_config(args.mesh_config.as_deref())?;
    let built = Snapshot::build(&with_pods(&resources), &mesh, &Held::default());
    conflict::find(&built.snapshot).iter().for_each(tell);
    let mut explainer = Explainer::new(&built.snapshot);
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut code = ExitCode::SUCCESS;
    for (number, line) in open(&args.requests)?.lines().enumerate() {
        let line = line.with_context(|| format!("reading {}", args.requests.display()))?;
        if line.trim().is_empty() {
            continue;
        }
        let place = || format!("{}:{}", args.requests.display(), number + 1);
        let question: Question = serde_json::from_str(&line).with_context(|| format!("{}: a request", place()))?;
        match explainer.explain(&question) {
            Ok(verdict) => print(&mut out, args.output, &question, &verdict)?,
            Err(error) => {
                anstream::eprintln!("{}: {error}", place());
                code = ExitCode::FAILURE;
            }
        }
    }
    out.flush()?;
    Ok(code)
}

fn print(out: &mut impl Write, output: Output, question: &Question, verdict: &Verdict) -> anyhow::Result<()> {
    match output {
        Output::Json => {
            serde_json::to_writer(&mut *out, &Answer { id: &question.id, verdict })?;
            out.write_all(b"\n")?;
        }
    }
    Ok(())
}

fn open(path: &Path) -> anyhow::Result<Box<dyn BufRead>> {
    if path == Path::new("-") {
        return Ok(Box::new(std::io::stdin().lock()));
    }
    let file = std::fs::File::open(path).with_context(|| format!("opening {}", path.display()))?;
    Ok(Box::new(BufReader::new(file)))
}

fn read_mesh_config(path: Option<&Path>) -> anyhow::Result<MeshConfig> {
    let Some(path) = path else { return Ok(MeshConfig::default()) };
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let loaded = load_mesh_config(&path.to_string_lossy(), &text);
    for diagnostic in &loaded.diagnostics {
        tell(diagnostic);
    }
    Ok(loaded.config)
}

fn read_resources(paths: &[PathBuf]) -> anyhow::Result<ResourceSet> {
    let mut files = Vec::new();
    for path in paths {
        collect(path, &mut files)?;
    }
    let mut loaded = Vec::new();
    for file in files {
        let mut bytes = Vec::new();
        open(&file)?.read_to_end(&mut bytes).with_context(|| format!("reading {}", file.display()))?;
        loaded.push(load_bytes(&file.to_string_lossy(), &bytes));
    }
    let (resources, duplicates) = ResourceSet::of_files(&loaded);
    for diagnostic in loaded.iter().flat_map(amime_model::resource::Loaded::all_diagnostics).chain(duplicates) {
        tell(&diagnostic);
    }
    Ok(resources)
}

/// Only errors: what changes an answer. The rest is for `up` and `check`.
fn tell(diagnostic: &amime_model::diagnostic::Diagnostic) {
    if diagnostic.severity == Severity::Error {
        let place = diagnostic.place.as_ref().map(|place| format!("{place}: ")).unwrap_or_default();
        anstream::eprintln!("{place}{}", diagnostic.message);
    }
}

/// A file, or the YAML and JSON files of a folder, in the order of their names; hidden ones left out.
fn collect(path: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    if !path.is_dir() {
        files.push(path.to_path_buf());
        return Ok(());
    }
    let entries = std::fs::read_dir(path).with_context(|| format!("reading {}", path.display()))?;
    let mut entries: Vec<PathBuf> = entries.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>()?;
    entries.sort();
    for entry in entries {
        let hidden = entry.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let wanted = entry.extension().is_some_and(|e| matches!(e.to_str(), Some("yaml" | "yml" | "json")));
        if !hidden && (entry.is_dir() || wanted) {
            collect(&entry, files)?;
        }
    }
    Ok(())
}
