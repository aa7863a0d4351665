//! Where a proxy's configuration is read from: a control plane, a proxy's admin port, or a file.

use super::fetch::{self, authority};
use anyhow::{Context, bail};
use serde_json::Value;
use std::io::Read;
use std::path::PathBuf;

/// Which of the three, and whose.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Source {
    /// The proxy: POD.NAMESPACE, POD, or the beginning of one that no other has
    #[arg(value_name = "PROXY", required_unless_present_any = ["proxy_admin", "dump"])]
    proxy: Option<String>,

    /// Ask the control plane whose debug pages are there
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:15014", help_heading = "Source")]
    control: String,

    /// Ask the proxy itself, by its admin port; a real Envoy's too
    #[arg(long, value_name = "HOST:PORT", conflicts_with_all = ["control", "dump"], help_heading = "Source")]
    proxy_admin: Option<String>,

    /// Read a saved /config_dump (an Envoy's, or istioctl's); - is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["control", "proxy_admin"], help_heading = "Source")]
    dump: Option<PathBuf>,
}

/// What was read.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// Envoy's `/config_dump`.
    pub(crate) dump: Value,
    /// Envoy's `/clusters?format=json`, where there is a proxy to ask.
    pub(crate) clusters: Option<Value>,
}

/// What to do where no control plane answers.
pub(crate) const CONTROL_HINT: &str =
    "is `amime control` running there? Name its monitoring port by --control HOST:PORT";

const ADMIN_HINT: &str = "is the proxy running? Name its admin port by --proxy-admin HOST:PORT";

impl Source {
    /// `with_health`: also what the proxy knows of its endpoints.
    pub(crate) fn load(&self, with_health: bool) -> anyhow::Result<Loaded> {
        if let Some(file) = &self.dump {
            return Ok(Loaded { dump: of_file(file)?, clusters: None });
        }
        if let Some(admin) = &self.proxy_admin {
            return of_admin(admin, with_health);
        }
        let proxy = self.proxy.as_deref().context("no PROXY is named")?;
        let control = authority(&self.control, fetch::MONITORING);
        let found = find(&proxies(&control)?, proxy)?;
        Ok(Loaded { dump: of_control(&control, &found)?, clusters: None })
    }
}

fn of_file(file: &PathBuf) -> anyhow::Result<Value> {
    let mut bytes = Vec::new();
    if file.as_os_str() == "-" {
        std::io::stdin().lock().read_to_end(&mut bytes).context("reading standard input")?;
    } else {
        bytes = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    }
    let dump: Value = serde_json::from_slice(&bytes).with_context(|| {
        format!("{} is no JSON; save one by: curl localhost:15000/config_dump?include_eds", file.display())
    })?;
    if !dump.get("configs").is_some_and(Value::is_array) {
        bail!(
            "{} is no config dump (it has no list of \"configs\"); save one by: curl localhost:15000/config_dump?include_eds",
            file.display()
        );
    }
    Ok(dump)
}

/// The dump of a proxy's admin port.
pub(crate) fn of_admin(admin: &str, with_health: bool) -> anyhow::Result<Loaded> {
    let admin = authority(admin, fetch::ADMIN);
    let get = |path: &str| -> anyhow::Result<Value> {
        let body = fetch::get(&admin, path, "the proxy's admin port", ADMIN_HINT)?;
        serde_json::from_slice(&body)
            .with_context(|| format!("http://{admin}{path} is no JSON; is that an admin port?"))
    };
    let dump = get("/config_dump?include_eds")?;
    let clusters = with_health.then(|| get("/clusters?format=json")).transpose()?;
    Ok(Loaded { dump, clusters })
}

/// What a control plane has told a proxy.
pub(crate) fn of_control(control: &str, proxy: &str) -> anyhow::Result<Value> {
    let path = format!("/debug/config_dump?proxyID={}&include_eds", fetch::escape(proxy));
    let body = fetch::get(control, &path, "the control plane", CONTROL_HINT)?;
    serde_json::from_slice(&body).with_context(|| format!("http://{control}{path} is no JSON"))
}

/// The names of the proxies of a control plane.
fn proxies(control: &str) -> anyhow::Result<Vec<String>> {
    let body = fetch::get(control, "/debug/syncz", "the control plane", CONTROL_HINT)?;
    let synced: Vec<super::status::Proxy> = serde_json::from_slice(&body)
        .with_context(|| format!("http://{control}/debug/syncz is not what it should be"))?;
    Ok(synced.into_iter().map(|p| p.proxy).collect())
}

/// The one proxy that a name means: as it is, a pod of any namespace, or a beginning that no other has.
pub(crate) fn find(proxies: &[String], wanted: &str) -> anyhow::Result<String> {
    let mut names: Vec<&String> = proxies.iter().collect();
    names.sort();
    names.dedup();
    let wanted = match wanted.split_once('/') {
        Some((namespace, pod)) => format!("{pod}.{namespace}"),
        None => wanted.to_owned(),
    };
    if names.iter().any(|name| **name == wanted) {
        return Ok(wanted);
    }
    let of_pod: Vec<_> =
        names.iter().filter(|name| name.rsplit_once('.').is_some_and(|(pod, _)| pod == wanted)).collect();
    let found = match of_pod.is_empty() {
        false => of_pod,
        true => names.iter().filter(|name| name.starts_with(&wanted)).collect(),
    };
    match found.as_slice() {
        [one] => Ok((**one).clone()),
        [] if names.is_empty() => bail!("no proxy is connected to the control plane"),
        [] => bail!("no proxy is called {wanted}; connected are: {}", some(&names)),
        many => bail!("{wanted} may be any of: {}", some(many)),
    }
}

/// The first few.
fn some<T: std::fmt::Display>(names: &[T]) -> String {
    const MOST: usize = 10;
    let mut text = names.iter().take(MOST).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if names.len() > MOST {
        text.push_str(&format!(", … ({} in all)", names.len()));
    }
    text
}
