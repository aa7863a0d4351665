//! `amime status`: asks each control plane for its proxies and prints how far they have come.

use crate::inspect::fetch::{self, authority};
use crate::inspect::source::{self, CONTROL_HINT};
use crate::inspect::{difference, output, status};
use anyhow::Context;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  amime status
      every proxy of the control plane at 127.0.0.1:15014

  amime status --control cp-0:15014 --control cp-1:15014
      of several; a proxy that moved is shown where it is now

  amime status productpage-v1.default --proxy-admin 127.0.0.1:15000
      one proxy, and where what it has differs from what the control plane has

  amime status --exit-code || echo 'some proxy is stale or rejected something'

States:
  SYNCED     the proxy has accepted all that it was sent; since when
  STALE      it was sent something and has not answered yet
  REJECTED   it has refused the last that it was sent; the reason stands below
  NOT SENT   there is nothing of that type for it

Exit codes: 0 all was told, 1 a control plane did not answer, or, with --exit-code, some proxy is
stale, has rejected something or differs; 2 wrong arguments.";

/// Show which proxies have what they were sent, and what is rejected or pending
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Only this proxy: POD.NAMESPACE, POD, or the beginning of one that no other has
    #[arg(value_name = "PROXY")]
    proxy: Option<String>,

    /// A control plane's debug pages; may be repeated
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:15014")]
    control: Vec<String>,

    /// Compare with what the proxy has, by its admin port; a real Envoy's too
    #[arg(long, value_name = "HOST:PORT", requires = "proxy")]
    proxy_admin: Option<String>,

    /// How it is printed
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,

    /// Exit with 1 where a proxy is stale, has rejected something, or differs
    #[arg(long)]
    exit_code: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    #[value(alias = "short")]
    Table,
    Json,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut lists = Vec::new();
    // Which control plane has a proxy, to ask it for more.
    let mut failed = None;
    for control in &args.control {
        match of_control(control) {
            Ok(proxies) => lists.push(proxies),
            // The others may well answer.
            Err(error) if args.control.len() > 1 => {
                crate::cmd::report(&error);
                failed = Some(error);
            }
            Err(error) => return Err(error),
        }
    }
    if lists.is_empty() {
        return Ok(ExitCode::FAILURE);
    }
    let mut proxies = status::merge(lists);
    if let Some(wanted) = &args.proxy {
        proxies = vec![status::only(proxies, wanted)?];
    }
    let differences = match (&args.proxy_admin, proxies.as_slice()) {
        (Some(admin), [proxy]) => Some(compare(args, admin, &proxy.proxy)?),
        _ => None,
    };
    match args.output {
        Output::Json => output::value(&serde_json::to_value(&proxies)?, output::Format::Json)?,
        Output::Table => status::print(&proxies)?,
    }
    let mut well = proxies.iter().all(status::Proxy::is_well);
    if let Some(differences) = differences {
        well &= differences.iter().all(|(_, d)| d.is_none());
        let text = difference::render(&differences);
        match args.output {
            Output::Json => anstream::eprint!("{text}"),
            Output::Table => output::print(&format!("\n{text}"))?,
        }
    }
    let bad = failed.is_some() || (args.exit_code && !well);
    Ok(if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn of_control(control: &str) -> anyhow::Result<Vec<status::Proxy>> {
    let control = authority(control, fetch::MONITORING);
    let body = fetch::get(&control, "/debug/syncz", "the control plane", CONTROL_HINT)?;
    let mut proxies: Vec<status::Proxy> = serde_json::from_slice(&body)
        .with_context(|| format!("http://{control}/debug/syncz is not what it should be"))?;
    for proxy in proxies.iter_mut().filter(|p| p.control_plane.is_empty()) {
        proxy.control_plane.clone_from(&control);
    }
    Ok(proxies)
}

/// By the first control plane that knows the proxy.
fn compare(
    args: &Args,
    admin: &str,
    proxy: &str,
) -> anyhow::Result<Vec<(amime_xds::ResourceType, difference::Difference)>> {
    let theirs = source::of_admin(admin, false)?.dump;
    let mut last = None;
    for control in &args.control {
        match source::of_control(&authority(control, fetch::MONITORING), proxy) {
            Ok(ours) => return Ok(difference::between(&ours, &theirs)),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| anyhow::anyhow!("no control plane is named")))
}
