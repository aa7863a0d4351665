//! 200 saves while requests run: none may fail, and the last save is what counts.

mod common;

use common::{Mesh, copy_of, eventually};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const HOST: &str = "shop.example.com";
const SAVES: usize = 200;
const CLIENTS: usize = 4;

/// A client that keeps its connection; what went wrong is told once, with the answer.
struct Client {
    port: u16,
    stream: Option<TcpStream>,
}

impl Client {
    fn ask(&mut self) -> Result<(), String> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => TcpStream::connect(("127.0.0.1", self.port)).map_err(|error| error.to_string())?,
        };
        let request = format!(
            "GET / HTTP/1.1\r\nhost: {HOST}\r\nx-amime-call: http://reviews:9080/,http://ratings:9080/\r\n\r\n"
        );
        stream.set_read_timeout(Some(common::PATIENCE)).map_err(|error| error.to_string())?;
        stream.write_all(request.as_bytes()).map_err(|error| format!("write: {error}"))?;
        let mut bytes = Vec::new();
        let mut buffer = [0; 16 * 1024];
        loop {
            let read = stream.read(&mut buffer).map_err(|error| format!("read: {error}"))?;
            if read == 0 {
                return Err(format!("closed after {:?}", String::from_utf8_lossy(&bytes)));
            }
            bytes.extend_from_slice(&buffer[..read]);
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let head = head.to_ascii_lowercase();
            let whole = match head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()) {
                Some(length) => body.len() >= length.trim().parse().unwrap_or(usize::MAX),
                None => body.ends_with("0\r\n\r\n"),
            };
            if !whole {
                continue;
            }
            // The answer of ratings is the innermost one: all three hops went well.
            if !head.starts_with("http/1.1 200") || !body.contains("ratings-v1") {
                return Err(text);
            }
            if !head.contains("connection: close") {
                self.stream = Some(stream);
            }
            return Ok(());
        }
    }
}

#[test]
fn two_hundred_saves_lose_no_request() {
    let folder = copy_of("shop");
    let mesh = Mesh::up([folder.path()]);
    let port = mesh.port(80);
    let (stop, sent, failed) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (stop, sent, failed) = (stop.clone(), sent.clone(), failed.clone());
            std::thread::spawn(move || {
                let mut client = Client { port, stream: None };
                while !stop.load(Ordering::Relaxed) {
                    sent.fetch_add(1, Ordering::Relaxed);
                    if let Err(error) = client.ask() {
                        failed.fetch_add(1, Ordering::Relaxed);
                        eprintln!("failed: {error}");
                    }
                }
            })
        })
        .collect();

    let files = Files::new(folder.path());
    for n in 0..SAVES {
        let before = sent.load(Ordering::Relaxed);
        files.save(n);
        // Each save meets requests.
        eventually("requests run", || (sent.load(Ordering::Relaxed) >= before + 8).then_some(()));
    }
    files.last();
    let call = [("x-amime-call", "http://reviews:9080/")];
    eventually("the last save counts", || {
        let answer = mesh.get(HOST, "/", &call);
        (answer.status == 200 && answer.called()["headers"]["x-save"] == "last").then_some(())
    });
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().expect("no panic");
    }
    let (sent, failed) = (sent.load(Ordering::Relaxed), failed.load(Ordering::Relaxed));
    eprintln!("{SAVES} saves, {sent} requests, {failed} failed");
    assert_eq!(failed, 0, "of {sent}:\n{}", mesh.output());
}

/// The files of the mesh, and the ways in which people save them.
struct Files<'a> {
    folder: &'a Path,
    reviews: String,
    workloads: String,
    ratings: String,
}

impl<'a> Files<'a> {
    fn new(folder: &'a Path) -> Self {
        let read = |name: &str| fs::read_to_string(folder.join(name)).expect("a file");
        Self { folder, reviews: read("reviews.yaml"), workloads: read("workloads.yaml"), ratings: read("ratings.yaml") }
    }

    fn rename(&self, name: &str, text: &str) {
        let new = self.folder.join(format!(".{name}.swp"));
        fs::write(&new, text).expect("written");
        fs::rename(&new, self.folder.join(name)).expect("renamed");
    }

    /// Truncates and writes in two parts, as a slow editor or a copy does.
    fn overwrite(&self, name: &str, text: &str) {
        let mut file = fs::File::create(self.folder.join(name)).expect("truncated");
        let middle = text.len() / 2;
        file.write_all(&text.as_bytes()[..middle]).expect("written");
        file.flush().expect("written");
        std::thread::yield_now();
        file.write_all(&text.as_bytes()[middle..]).expect("written");
    }

    fn save(&self, n: usize) {
        let everyone =
            format!("          headers:\n            request:\n              set:\n                x-save: \"{n}\"\n");
        let with_header = self.reviews.replace("          weight: 90\n", &format!("          weight: 90\n{everyone}"));
        match n % 8 {
            // Other weights, another header.
            0 | 4 => self.rename("reviews.yaml", &with_header.replace("weight: 10", "weight: 0")),
            1 => self.overwrite("reviews.yaml", &with_header),
            // A subset that no rule has yet, and its rule afterwards; a new pod with it.
            2 => self.rename(
                "reviews.yaml",
                &with_header.replace("subset: v3\n          weight: 10", "subset: v4\n          weight: 10"),
            ),
            3 => {
                let more = self.workloads.replace("name: ratings-v1", "name: ratings-v1\n  annotations: {x: y}");
                self.rename("workloads.yaml", &more.replacen("replicas: 2", &format!("replicas: {}", 1 + n % 3), 1));
            }
            // A mistake, then its correction by a later save.
            5 => self.rename(
                "reviews.yaml",
                &with_header.replace("subset: v1\n          weight: 90", "subst: v1\n          weight: 90"),
            ),
            6 => self
                .overwrite("ratings.yaml", &self.ratings.replace("attempts: 3", &format!("attempts: {}", 1 + n % 4))),
            _ => self.rename("reviews.yaml", &self.reviews),
        }
    }

    fn last(&self) {
        let header = "          headers:\n            request:\n              set:\n                x-save: last\n";
        let all = self
            .reviews
            .replace("weight: 90\n", &format!("weight: 100\n{header}"))
            .replace("weight: 10\n", "weight: 0\n");
        self.rename("reviews.yaml", &all);
    }
}
