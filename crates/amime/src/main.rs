//! `amime`, the one binary: control plane, sidecar, gateway and tools. This file reads the command line;
//! `cmd` has one file a subcommand.

mod check;
mod cmd;
mod control;
mod diff;
mod explain;
mod inspect;
mod junit;
mod logging;
mod manifests;
mod proxy;
mod serve;
mod signals;
mod test;
mod unverified_tls;
mod up;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// The control plane's memory after a push, and a proxy's after a burst, goes back to the system sooner than with the C
/// library's, and is less torn; what `make bench` measures runs on it too.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const ABOUT: &str = "A service mesh that speaks Istio's API";

const EXAMPLES: &str = "\
Examples:
  amime up k8s/                     run the mesh that the manifests in k8s/ describe
  kustomize build . | amime up -    the same, from standard input
  amime control --config k8s/       serve the configuration to proxies, over xDS
  amime check k8s/                  find what is wrong in manifests
  amime status                      which proxies have what they were sent
  amime config routes reviews-v1    what a proxy was told
  amime explain -f k8s/ http://shop.example.com/cart    the way of a request, and who decides each hop
  amime test k8s/                   do requests go where the tests beside the manifests say
  amime diff HEAD k8s/              what a change does to requests
  amime completions bash > ~/.local/share/bash-completion/completions/amime

Exit codes: 0 all is well, 1 findings or a failure, 2 the command line is wrong.
Colour is for terminals alone; NO_COLOR=1 turns it off there too.";

#[derive(Debug, Parser)]
#[command(name = "amime", version, about = ABOUT, after_help = EXAMPLES, styles = cmd::STYLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(cmd::up::Args),
    Control(cmd::control::Args),
    Proxy(cmd::proxy::Args),
    Status(cmd::status::Args),
    Config(cmd::config::Args),
    Check(cmd::check::Args),
    Explain(cmd::explain::Args),
    Test(cmd::test::Args),
    Diff(cmd::diff::Args),
    Completions(cmd::completions::Args),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Up(args) => cmd::up::run(args),
        Command::Control(args) => cmd::control::run(args),
        Command::Proxy(args) => cmd::proxy::run(args),
        Command::Status(args) => cmd::status::run(&args),
        Command::Config(args) => cmd::config::run(&args),
        Command::Check(args) => cmd::check::run(&args),
        Command::Explain(args) => cmd::explain::run(&args),
        Command::Test(args) => cmd::test::run(&args),
        Command::Diff(args) => cmd::diff::run(&args),
        Command::Completions(args) => cmd::completions::run(&args),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            cmd::report(&error);
            ExitCode::FAILURE
        }
    }
}
