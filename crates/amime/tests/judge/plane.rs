//! A control plane over a folder of manifests: `amime control` as a process of its own, over TCP, as it runs in
//! production. What it tells at its monitoring port is all that is known of it here.

use super::command::Control;
use super::envoy::Who;
use super::{eventually, eventually_or};
use amime_testkit::client::Raw;
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use xxhash_rust::xxh64::{Xxh64, xxh64};

/// Manifests are saved into its folder, as an editor does; `settled` waits for the proxies to run them.
pub struct Plane {
    folder: tempfile::TempDir,
    /// None only while it is started again.
    control: Option<Control>,
    /// Stays the same over a restart.
    pub address: SocketAddr,
}

/// Proxies log each request by this, to the standard output.
pub const MESH: &str = "accessLogFile: /dev/stdout\naccessLogFormat: \"judged %REQ(X-JUDGED)% %RESPONSE_CODE% \
                        %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%\\n\"\n";

/// The types that every proxy of these tests asks for, as `/debug/syncz` calls them.
const TYPES: [&str; 4] = ["CDS", "EDS", "LDS", "RDS"];

impl Plane {
    /// With these files. Each of `sidecars` is a pod of the namespace `shop` whose sidecar is started elsewhere: see
    /// `sidecar`.
    pub fn start(files: &[(&str, &str)], sidecars: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name).display().to_string();
        fs::create_dir(at("manifests")).expect("a folder");
        for (name, text) in files {
            fs::write(folder.path().join("manifests").join(name), text).expect("written");
        }
        fs::write(at("mesh.yaml"), MESH).expect("written");
        let mut args = vec!["--config".to_owned(), at("manifests"), "--mesh-config".to_owned(), at("mesh.yaml")];
        args.extend(["--state".to_owned(), at("state")]);
        if !sidecars.is_empty() {
            args.push("--stand-ins".to_owned());
            let clients: String = sidecars.iter().map(|name| client(name)).collect();
            fs::write(folder.path().join("manifests/clients.yaml"), clients).expect("written");
        }
        for name in sidecars {
            args.extend(["--sidecar".to_owned(), format!("shop/{name}")]);
        }
        let control = Control::start(args);
        Self { address: control.grpc, control: Some(control), folder }
    }

    pub fn control(&self) -> &Control {
        self.control.as_ref().expect("always but while it is started again")
    }

    /// Who the sidecar of one of `sidecars` has to say that it is. It listens at its own address, and is told by
    /// PROXY headers where connections go.
    pub fn sidecar(&self, name: &str) -> Who {
        let wanted = self.control().wanted();
        let of = |who: &Who| who.kind == "sidecar" && who.pod.starts_with(&format!("{name}-"));
        wanted.into_iter().find(of).unwrap_or_else(|| panic!("no sidecar {name}: {}", self.control().output().text()))
    }

    /// Ends it by this signal and starts it again at the same port.
    pub fn restart(&mut self, signal: Signal) {
        self.control = self.control.take().map(|control| control.restart(signal));
    }

    pub fn manifests(&self) -> PathBuf {
        self.folder.path().join("manifests")
    }

    pub fn save(&self, name: &str, text: &str) {
        amime_testkit::files::save(&self.manifests().join(name), text);
    }

    pub fn remove(&self, name: &str) {
        fs::remove_file(self.manifests().join(name)).expect("removed");
    }

    /// Waits until so many proxies are connected and each runs what the folder holds.
    pub async fn settled(&self, proxies: usize) {
        self.settled_but(proxies, "nobody").await;
    }

    /// The same, whatever the proxies do whose id holds this.
    pub async fn settled_but(&self, proxies: usize, without: &str) {
        let wanted = self.inputs();
        let told = std::cell::RefCell::new(Value::Null);
        let settled = eventually_or(|| async {
            let all = self.page("/debug/syncz").await?;
            // Ours asks for virtual hosts too, on a new connection after all else.
            let ours = |proxy: &Value| proxy["id"].as_str().is_some_and(|id| id.contains("~amime"));
            let runs = |proxy: &Value| {
                proxy["inputs"] == wanted.as_str()
                    && proxy["generation"] == proxy["newest_generation"]
                    && TYPES.iter().all(|kind| proxy["types"][kind]["state"] == "SYNCED")
                    && (!ours(proxy) || proxy["types"]["VHDS"]["state"] == "SYNCED")
            };
            let asked = |proxy: &&Value| !proxy["id"].as_str().is_some_and(|id| id.contains(without));
            let list = all.as_array()?;
            let done = list.len() == proxies && list.iter().filter(asked).all(runs);
            told.replace(all);
            done.then_some(())
        });
        if settled.await.is_none() {
            panic!("of {proxies} not all are in step with inputs {wanted}: {:#}", told.borrow());
        }
    }

    /// Waits until nothing is left of what proxies are not to have any more.
    pub async fn tidied(&self) {
        eventually("old clusters go", || async {
            let clients = self.page("/debug/adsz").await?["clients"].as_array()?.clone();
            clients.iter().all(|client| client["watches"]["CDS"]["behind"] == 0).then_some(())
        })
        .await;
    }

    /// What proxies refused, in words.
    pub async fn refusals(&self) -> Vec<String> {
        let all = self.page("/debug/adsz").await.expect("a page");
        let clients = all["clients"].as_array().expect("clients").clone();
        let refused = |client: &Value| {
            let id = client["connectionId"].clone();
            let watches = client["watches"].as_object().expect("watches").clone();
            let bad = watches.into_iter().filter(|(_, watch)| watch["rejects"] != 0);
            bad.map(move |(kind, watch)| format!("{id}: {kind}: {watch}")).collect::<Vec<_>>()
        };
        clients.iter().flat_map(refused).collect()
    }

    /// None while it does not answer.
    async fn page(&self, path: &str) -> Option<Value> {
        let mut client = Raw::try_connect(self.control().monitoring).await?;
        let answer = client.get("localhost", path, "connection: close\r\n").await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        Some(serde_json::from_str(&answer.body).expect("JSON"))
    }

    /// By what name `/debug/syncz` calls the texts of the folder: a hash of their sorted hashes.
    fn inputs(&self) -> String {
        let entries = fs::read_dir(self.manifests()).expect("a folder").map(|entry| entry.expect("an entry").path());
        let mut texts: Vec<u64> = entries.map(|path| xxh64(&fs::read(path).expect("a file"), 0)).collect();
        texts.push(xxh64(MESH.as_bytes(), 0));
        texts.sort_unstable();
        let mut all = Xxh64::new(0);
        texts.iter().for_each(|text| all.update(&text.to_be_bytes()));
        format!("{:016x}", all.digest())
    }
}

/// A workload that nobody calls.
fn client(name: &str) -> String {
    format!(
        "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, namespace: shop}}\nspec:\n  selector: \
         {{matchLabels: {{app: {name}}}}}\n  template:\n    metadata: {{labels: {{app: {name}}}}}\n    spec: {{containers: \
         [{{name: client, image: client}}]}}\n"
    )
}
