//! A control plane over a folder of manifests.

use super::PATIENCE;
use amime_control::distribute::{Distributor, ProxyStatus};
use amime_control::engine::{self, EngineOptions, Generation};
use amime_control::source::Input;
use amime_xds::ResourceType;
use amime_xds::server::StreamOptions;
use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Manifests are saved into its folder, as an editor does; `settled` waits for the proxies to run them.
pub struct Plane {
    folder: tempfile::TempDir,
    engine: watch::Receiver<Generation>,
    distributor: Distributor,
    pub address: SocketAddr,
    _serving: JoinSet<()>,
}

/// Proxies log each request by this, to the standard output.
pub const MESH: &str = "accessLogFile: /dev/stdout\naccessLogFormat: \"judged %REQ(X-JUDGED)% %RESPONSE_CODE% \
                        %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%\\n\"\n";

impl Plane {
    pub async fn start(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let manifests = folder.path().join("manifests");
        fs::create_dir(&manifests).expect("a folder");
        for (name, text) in files {
            fs::write(manifests.join(name), text).expect("written");
        }
        let mesh = folder.path().join("mesh.yaml");
        fs::write(&mesh, MESH).expect("written");
        let mut options = EngineOptions::new(vec![Input::Path(manifests)]);
        options.mesh_config = Some(mesh);
        let engine = engine::start(options).expect("an engine");
        let distributor = Distributor::start(engine.clone(), StreamOptions::default()).expect("a server");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let mut serving = JoinSet::new();
        let server = distributor.clone();
        serving.spawn(async move {
            let mut streams = JoinSet::new();
            while let Ok((stream, peer)) = listener.accept().await {
                let server = server.clone();
                // How a connection ends is its proxy's matter.
                streams.spawn(async move { drop(server.serve(stream, peer).await) });
            }
        });
        Self { folder, engine, distributor, address, _serving: serving }
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
        let wanted = self.on_disk();
        let mut engine = self.engine.clone();
        let manifests = self.manifests().display().to_string();
        let read = engine.wait_for(|generation| {
            let read = generation.texts.files().filter(|(name, _)| name.starts_with(&manifests));
            read.eq(wanted.iter().map(|(name, text)| (name.as_str(), text.as_str())))
        });
        let waited = tokio::time::timeout(PATIENCE, read).await.expect("the files are read in time");
        let generation = waited.expect("an engine").number;
        let mut changes = self.distributor.changes();
        let settled = async {
            loop {
                let all = self.distributor.proxies();
                if all.len() == proxies && all.iter().all(|proxy| proxy.runs(generation)) {
                    return;
                }
                changes.changed().await.expect("a server");
            }
        };
        if tokio::time::timeout(PATIENCE, settled).await.is_err() {
            let told = |proxy: &ProxyStatus| {
                let of = |kind| {
                    let status = &proxy.stream.types[kind];
                    format!(
                        "{kind:?} {} behind, {:?}, held up by {:?}",
                        status.behind, status.rejected, status.held_up_by
                    )
                };
                format!("{} at {}: {:?}", proxy.id, proxy.generation, ResourceType::ALL.map(of))
            };
            let told: Vec<String> = self.distributor.proxies().iter().map(told).collect();
            panic!("of {proxies} not all are in step with generation {generation}: {told:#?}");
        }
    }

    /// Waits until nothing is left of what proxies are not to have any more.
    pub async fn tidied(&self) {
        let mut changes = self.distributor.changes();
        let tidied = async {
            let left = || {
                let all = self.distributor.proxies();
                all.iter().any(|proxy| proxy.stream.types[ResourceType::Cluster].behind > 0)
            };
            while left() {
                changes.changed().await.expect("a server");
            }
        };
        tokio::time::timeout(PATIENCE, tidied).await.expect("old clusters go in time");
    }

    fn on_disk(&self) -> BTreeMap<String, String> {
        let entries = fs::read_dir(self.manifests()).expect("a folder").map(|entry| entry.expect("an entry").path());
        entries.map(|path| (path.display().to_string(), fs::read_to_string(&path).expect("a file"))).collect()
    }

    /// What proxies refused, in words.
    pub fn refusals(&self) -> Vec<String> {
        let told = |proxy: ProxyStatus| {
            ResourceType::ALL.into_iter().filter_map(move |kind| {
                let status = &proxy.stream.types[kind];
                (status.nacks > 0).then(|| format!("{}: {kind:?}: {} {:?}", proxy.id, status.nacks, status.rejected))
            })
        };
        self.distributor.proxies().into_iter().flat_map(told).collect()
    }
}
