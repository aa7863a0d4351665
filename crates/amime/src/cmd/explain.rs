//! `amime explain`: reads the command line, asks `amime_model::explain`, and prints the way of a request, or an answer
//! for each of many.

use crate::explain::requests::{self, Answer};
use crate::explain::{diagram, human, mermaid, routes, sources};
use crate::inspect::output;
use crate::manifests;
use amime_model::config::{ProxyConfig, VirtualHost};
use amime_model::explain::{DumpExplainer, Explainer, OneOrMany, Question, QuestionError, Trace, Verdict};
use amime_model::snapshot::Snapshot;
use anyhow::Context;
use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  amime explain -f k8s/ http://shop.example.com/cart
      from the internet to a pod: load balancer, Gateway, rule, subset, endpoints, and why the others lost

  amime explain -f k8s/ --from productpage-v1 -H 'end-user: jason' http://reviews:9080/
      what that workload's sidecar does with the request

  amime explain -f k8s/ --all http://shop.example.com/
      every route of the host

  amime explain -f k8s/ -o diagram http://shop.example.com/cart
      drawn; -o mermaid for pages, -o json for programs

  kubectl exec POD -c istio-proxy -- pilot-agent request GET config_dump?include_eds > dump.json
  amime explain --dump dump.json http://reviews:9080/
      the same, asked of what a proxy of Istio really has

  amime explain -f k8s/ --from gateway --requests access.log -o human
      yesterday's traffic, asked of today's files

A line of --requests is JSON, or one of an access log in Istio's text or JSON format:
  from       namespace/pod whose application sends it, through its sidecar (a workload's name will do)
  at         namespace/pod of the gateway at which it arrives, instead of from
  url        http://, https:// or tcp://
  address    the IP address that is dialled; else what the mesh's DNS says
  method, headers, authority, id

Exit codes: 0 answered (also where the answer is an error of the mesh), 1 something could not be answered, 2 the command line is wrong.";

/// Tell the way of a request, hop by hop, without sending it
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The request's URL: http://, https:// or tcp://
    #[arg(value_name = "URL", required_unless_present = "requests", conflicts_with = "requests")]
    url: Option<String>,

    /// Files and folders of Istio and Kubernetes YAML or JSON; - is standard input
    #[arg(short = 'f', long = "filename", required_unless_present = "dump", value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// Instead of files: what a proxy's /config_dump?include_eds answered; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["paths", "mesh_config"])]
    dump: Option<PathBuf>,

    /// MeshConfig: a file of its fields, or a ConfigMap `istio` that holds them
    #[arg(long, value_name = "FILE")]
    mesh_config: Option<PathBuf>,

    /// Who sends it: a workload ([namespace/]name), `gateway` (it is at a gateway) or `internet`
    #[arg(long, value_name = "WORKLOAD|gateway|internet")]
    from: Option<String>,

    /// The method
    #[arg(short = 'X', long, value_name = "METHOD")]
    method: Option<String>,

    /// A header of the request, as often as wanted; `host: name` is the authority
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(String, String)>,

    /// The IP address that the application dials, instead of what the mesh's DNS says
    #[arg(long, value_name = "IP")]
    address: Option<String>,

    /// Every route of the URL's host, as a table
    #[arg(long, conflicts_with = "requests")]
    all: bool,

    /// Requests, one a line: JSON or an access log; - is standard input
    #[arg(long, value_name = "FILE")]
    requests: Option<PathBuf>,

    /// How answers are printed; human for one request and json for many unless said otherwise
    #[arg(short, long, value_enum)]
    output: Option<Output>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// Text, a hop a line
    Human,
    /// JSON; one object a line for --requests
    Json,
    /// A flowchart of Mermaid
    Mermaid,
    /// Boxes
    Diagram,
}

/// Who answers.
enum Source<'s> {
    Files(Explainer<'s>, &'s Snapshot),
    Dump(DumpExplainer<'s>),
}

impl Source<'_> {
    fn explain(&mut self, question: &Question) -> Result<Verdict, QuestionError> {
        match self {
            Self::Files(explainer, _) => explainer.explain(question),
            Self::Dump(explainer) => explainer.explain(question),
        }
    }

    fn trace(&mut self, question: &Question) -> Result<Trace, QuestionError> {
        match self {
            Self::Files(explainer, _) => explainer.trace(question),
            Self::Dump(explainer) => explainer.trace(question),
        }
    }

    fn routes(&mut self, question: &Question) -> Result<Option<VirtualHost>, QuestionError> {
        match self {
            Self::Files(explainer, _) => explainer.routes(question),
            Self::Dump(explainer) => explainer.routes(question),
        }
    }

    fn snapshot(&self) -> Option<&Snapshot> {
        match self {
            Self::Files(_, snapshot) => Some(snapshot),
            Self::Dump(_) => None,
        }
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if let Some(path) = &args.dump {
        let config: ProxyConfig = sources::dump(path)?;
        return answer(args, &mut Source::Dump(DumpExplainer::new(&config)));
    }
    let manifests = sources::manifests(&args.paths, args.mesh_config.as_deref())?;
    answer(args, &mut Source::Files(manifests.explainer(), &manifests.snapshot))
}

fn answer(args: &Args, source: &mut Source<'_>) -> anyhow::Result<ExitCode> {
    match (&args.requests, &args.url) {
        (Some(path), _) => many(args, source, path),
        (None, Some(url)) => one(args, source, url),
        // clap asks for one of them.
        (None, None) => Ok(ExitCode::from(2)),
    }
}

fn one(args: &Args, source: &mut Source<'_>, url: &str) -> anyhow::Result<ExitCode> {
    let question = question(args, url);
    if args.all {
        let found = source.routes(&question)?;
        let host = found.with_context(|| format!("{url} comes to no route table; without --all it is told why"))?;
        output::table(&routes::table(&host, source.snapshot()), "the host has no routes")?;
        return Ok(ExitCode::SUCCESS);
    }
    let trace = source.trace(&question)?;
    output::print(&match args.output.unwrap_or(Output::Human) {
        Output::Human => human::render(&trace),
        Output::Json => format!("{:#}\n", serde_json::to_value(&trace)?),
        Output::Mermaid => mermaid::render(&trace),
        Output::Diagram => diagram::render(&trace, width()),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// From outside, unless it is said who sends it.
fn question(args: &Args, url: &str) -> Question {
    let mut headers: BTreeMap<String, OneOrMany> = BTreeMap::new();
    let mut authority = None;
    for (name, value) in &args.headers {
        if name == "host" {
            authority = Some(value.clone());
            continue;
        }
        let all = headers.entry(name.clone()).or_insert_with(|| OneOrMany::Many(Vec::new()));
        if let OneOrMany::Many(values) = all {
            values.push(value.clone());
        }
    }
    Question {
        // A dump is of one proxy, and tells not which.
        from: Some(
            args.from.clone().unwrap_or_else(|| if args.dump.is_some() { "the proxy" } else { "internet" }.to_owned()),
        ),
        url: url.to_owned(),
        address: args.address.clone(),
        method: args.method.clone(),
        headers,
        authority,
        ..Question::default()
    }
}

fn many(args: &Args, source: &mut Source<'_>, path: &Path) -> anyhow::Result<ExitCode> {
    let mut out = std::io::BufWriter::new(anstream::stdout().lock());
    let mut code = ExitCode::SUCCESS;
    for (number, line) in manifests::open(path)?.lines().enumerate() {
        let line = line.with_context(|| format!("reading {}", path.display()))?;
        if line.trim().is_empty() {
            continue;
        }
        let place = format!("{}:{}", path.display(), number + 1);
        let parsed = requests::parse(&line, number + 1, args.from.as_deref());
        let Some(asked) = parsed.with_context(|| place.clone())? else { continue };
        match asked.answer(|question| source.explain(question)) {
            Ok(verdict) => {
                let answer = Answer { id: &asked.id, verdict: &verdict, logged: asked.logged.as_ref() };
                match args.output.unwrap_or(Output::Json) {
                    Output::Json => {
                        serde_json::to_writer(&mut out, &answer)?;
                        out.write_all(b"\n")?;
                    }
                    Output::Human => writeln!(out, "{}", human::line(&answer, &asked.questions[0]))?,
                    Output::Mermaid | Output::Diagram => anyhow::bail!("--requests prints human or json"),
                }
            }
            Err(error) => {
                anstream::eprintln!("{place}: {error}");
                code = ExitCode::FAILURE;
            }
        }
    }
    out.flush()?;
    Ok(code)
}

/// `name: value`, the name in lower case.
fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("a header is written as 'name: value'")?;
    let name = name.trim().to_ascii_lowercase();
    http::HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("{name:?} is no name of a header"))?;
    Ok((name, value.trim().to_owned()))
}

/// Of the terminal.
fn width() -> usize {
    let told = rustix::termios::tcgetwinsize(std::io::stdout()).ok().map(|size| usize::from(size.ws_col));
    let variable = || std::env::var("COLUMNS").ok()?.parse().ok();
    told.filter(|columns| *columns > 0).or_else(variable).unwrap_or(diagram::WIDTH)
}
