//! `amime config`: reads the command line, loads a proxy's configuration and prints the part that is asked for.

use crate::inspect::output::{self, Format};
use crate::inspect::source::{Loaded, Source};
use crate::inspect::view::{self, Seen};
use crate::inspect::{clusters, endpoints, listeners, routes, secrets};
use amime_xds::ResourceType;
use amime_xds::json::State;
use clap::Subcommand;
use serde_json::Value;
use std::collections::HashSet;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  amime config listeners productpage-v1.default
      what the control plane at 127.0.0.1:15014 has told that proxy

  amime config routes productpage-v1 --name 9080 --verbose
      whole matches, and the object and field that each route came from

  amime config clusters --proxy-admin 127.0.0.1:15000 --fqdn reviews
      what a proxy, ours or Envoy, has itself

  amime config endpoints --proxy-admin 15000 --status UNHEALTHY
      with the health that the proxy sees

  curl -s localhost:15000/config_dump?include_eds | amime config all --dump -
      of a saved dump

  amime config clusters reviews-v1 -o json | jq '.[].name'

Exit codes: 0 all is well (also where there is nothing to show), 1 a failure, 2 wrong arguments.";

/// Show what a proxy was told: its listeners, routes, clusters, endpoints and secrets
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Where a proxy listens, and where connections go from there
    #[command(visible_aliases = ["listener", "l"])]
    Listeners {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        filter: listeners::Filter,
    },
    /// How requests are routed
    #[command(visible_aliases = ["route", "r"])]
    Routes {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        filter: routes::Filter,
    },
    /// Where requests may be sent
    #[command(visible_aliases = ["cluster", "c"])]
    Clusters {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        filter: clusters::Filter,
    },
    /// The addresses behind clusters
    #[command(visible_aliases = ["endpoint", "ep", "e"])]
    Endpoints {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        filter: endpoints::Filter,
    },
    /// Certificates, without their keys
    #[command(visible_aliases = ["secret", "s"])]
    Secrets {
        #[command(flatten)]
        common: Common,
    },
    /// All of these; with -o json or yaml the whole dump
    #[command(visible_alias = "a")]
    All {
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Debug, clap::Args)]
struct Common {
    #[command(flatten)]
    source: Source,

    /// How it is printed
    #[arg(short, long, value_enum, default_value_t = Format::Short)]
    output: Format,

    /// Show whole matches, the objects and fields that things came from, and what was not understood
    #[arg(short, long)]
    verbose: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.what {
        What::Listeners { common, filter } => print_listeners(common, &common.load(false)?, filter)?,
        What::Routes { common, filter } => print_routes(common, &common.load(false)?, filter)?,
        What::Clusters { common, filter } => print_clusters(common, &common.load(false)?, filter)?,
        What::Endpoints { common, filter } => print_endpoints(common, &common.load(true)?, filter)?,
        What::Secrets { common } => print_secrets(common, &common.load(false)?)?,
        What::All { common } => {
            let loaded = common.load(true)?;
            if common.output != Format::Short {
                output::value(&loaded.dump, common.output)?;
                return Ok(ExitCode::SUCCESS);
            }
            print_clusters(common, &loaded, &clusters::Filter::default())?;
            output::print("\n")?;
            print_listeners(common, &loaded, &listeners::Filter::default())?;
            output::print("\n")?;
            print_routes(common, &loaded, &routes::Filter::default())?;
            output::print("\n")?;
            print_secrets(common, &loaded)?;
            output::print("\n")?;
            print_endpoints(common, &loaded, &endpoints::Filter::default())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl Common {
    fn load(&self, with_health: bool) -> anyhow::Result<Loaded> {
        self.source.load(with_health)
    }

    /// The resources of a kind; what is not understood is named where it was asked for.
    fn read<'a>(&self, loaded: &'a Loaded, kind: ResourceType) -> Vec<Seen<'a>> {
        let (seen, unknown) = view::of_kind(&loaded.dump, kind);
        if self.verbose {
            for unknown in seen.iter().flat_map(|s| &s.unknown).chain(&unknown) {
                anstream::eprintln!("not understood: {unknown}");
            }
        }
        seen
    }

    /// The resources as the dump has them.
    fn print_raw(&self, seen: &[&Seen<'_>]) -> anyhow::Result<()> {
        let values = seen.iter().map(|s| s.dumped.value.clone()).collect();
        output::value(&Value::Array(values), self.output)
    }
}

fn print_listeners(common: &Common, loaded: &Loaded, filter: &listeners::Filter) -> anyhow::Result<()> {
    let seen = common.read(loaded, ResourceType::Listener);
    let seen = in_use(&seen, |s| listeners::wanted(s, filter));
    if common.output != Format::Short {
        return common.print_raw(&seen);
    }
    output::table(&listeners::table(&seen, common.verbose), "no listeners that are asked for")
}

fn print_routes(common: &Common, loaded: &Loaded, filter: &routes::Filter) -> anyhow::Result<()> {
    let seen = common.read(loaded, ResourceType::Route);
    let seen = in_use(&seen, |s| routes::wanted(s, filter));
    if common.output != Format::Short {
        return common.print_raw(&seen);
    }
    output::table(&routes::table(&seen, common.verbose), "no routes that are asked for")
}

fn print_clusters(common: &Common, loaded: &Loaded, filter: &clusters::Filter) -> anyhow::Result<()> {
    let seen = common.read(loaded, ResourceType::Cluster);
    let seen = in_use(&seen, |s| clusters::wanted(s, filter));
    if common.output != Format::Short {
        return common.print_raw(&seen);
    }
    output::table(&clusters::table(&seen, common.verbose), "no clusters that are asked for")
}

fn print_endpoints(common: &Common, loaded: &Loaded, filter: &endpoints::Filter) -> anyhow::Result<()> {
    let assignments = common.read(loaded, ResourceType::Endpoints);
    let mut rows = match &loaded.clusters {
        Some(clusters) => endpoints::of_admin(clusters),
        None => endpoints::of_dump(&common.read(loaded, ResourceType::Cluster), &assignments),
    };
    rows.retain(|row| row.wanted(filter));
    if common.output == Format::Short {
        return output::table(&endpoints::table(rows, common.verbose), "no endpoints that are asked for");
    }
    // Whole clusters, of which some endpoint is asked for.
    let names: HashSet<&str> = rows.iter().map(endpoints::Row::cluster).collect();
    let Some(clusters) = &loaded.clusters else {
        return common.print_raw(&in_use(&assignments, |s| names.contains(s.dumped.name)));
    };
    let statuses = clusters["cluster_statuses"].as_array().into_iter().flatten();
    let wanted = statuses.filter(|status| status["name"].as_str().is_some_and(|name| names.contains(name)));
    output::value(&wanted.cloned().collect(), common.output)
}

fn print_secrets(common: &Common, loaded: &Loaded) -> anyhow::Result<()> {
    let seen = common.read(loaded, ResourceType::Secret);
    let seen: Vec<_> = seen.iter().collect();
    if common.output != Format::Short {
        return common.print_raw(&seen);
    }
    output::table(&secrets::table(&seen, time::OffsetDateTime::now_utc()), "no secrets")
}

/// Neither warming nor draining, and asked for.
fn in_use<'a, 'b>(seen: &'a [Seen<'b>], wanted: impl Fn(&Seen<'b>) -> bool) -> Vec<&'a Seen<'b>> {
    seen.iter().filter(|s| s.dumped.state == State::Active && wanted(s)).collect()
}
