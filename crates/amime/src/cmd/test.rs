//! `amime test`: reads the command line, runs the tests that lie beside manifests, and says by its exit code how they went.

use crate::inspect::output;
use crate::test::{Inputs, Output, print, run as run_tests, watch};
use std::path::PathBuf;
use std::process::ExitCode;

/// Test where requests go, by files beside the manifests
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  amime test k8s/                                     every *.mesh-test.yaml below, against the manifests beside it
  helm template shop | amime test -f - tests/         against rendered manifests
  amime test k8s/ --live                              sent as real requests too, through a mesh on this machine
  amime test k8s/ --watch                             again after each save
  amime test k8s/ --coverage                          which rules no test reaches
  amime test k8s/ -o junit > report.xml               for CI

A test file (docs/test.md has all of it):
  tests:
    - name: who gets which version of reviews
      request: {from: shop/web-v1, url: http://reviews:9080/}
      cases:
        - {name: jason, request: {headers: {end-user: jason}}, expect: {subset: v2}}
        - {name: everyone else, expect: {weights: {v1: 90, v3: 10}}}

Exit codes: 0 all passed, 1 a test failed, 2 the command line or a test file is wrong, or a file cannot be read.
With --watch 0 where Ctrl-C ended it.")]
pub(crate) struct Args {
    /// Test files, and folders in which their names end in .mesh-test.yaml
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// Manifests, in place of those beside the tests; - is standard input
    #[arg(short = 'f', long = "filename", value_name = "PATH")]
    manifests: Vec<PathBuf>,

    /// MeshConfig: a file of its fields, or a ConfigMap `istio` that holds them
    #[arg(long, value_name = "FILE")]
    mesh_config: Option<PathBuf>,

    /// How the outcome is printed
    #[arg(short, long, value_enum, default_value_t = Output::Human)]
    output: Output,

    /// Send the requests too, through a mesh of real proxies on this machine, and compare
    #[arg(long)]
    live: bool,

    /// Run again whenever a file changes, until Ctrl-C
    #[arg(long)]
    watch: bool,

    /// Name the rules that no test reaches
    #[arg(long)]
    coverage: bool,
}

/// What cannot be read is a mistake of the command line, not a failure.
const USAGE: u8 = 2;

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let inputs = Inputs {
        paths: &args.paths,
        manifests: &args.manifests,
        mesh_config: args.mesh_config.as_ref(),
        live: args.live,
    };
    if !args.watch {
        return once(args, &inputs);
    }
    let watched = watch(&inputs, |folders| {
        // What is wrong now may be mended by the next save.
        if let Err(error) = once(args, &inputs) {
            super::report(&error);
        }
        let plural = if folders == 1 { "" } else { "s" };
        anstream::eprintln!("watching {folders} folder{plural}; Ctrl-C ends");
    });
    match watched {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            super::report(&error);
            Ok(ExitCode::from(USAGE))
        }
    }
}

fn once(args: &Args, inputs: &Inputs<'_>) -> anyhow::Result<ExitCode> {
    let report = match run_tests(inputs) {
        Ok(report) => report,
        Err(error) => {
            super::report(&error);
            return Ok(ExitCode::from(USAGE));
        }
    };
    output::print(&print(&report, args.output, args.coverage))?;
    Ok(match (report.has_broken_files(), report.failed()) {
        (true, _) => ExitCode::from(USAGE),
        (false, 0) => ExitCode::SUCCESS,
        (false, _) => ExitCode::FAILURE,
    })
}
