//! A name server on loopback UDP that answers as a test says, and counts what it is asked.

#![allow(clippy::unwrap_used)] // Helpers of tests panic as tests do.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What a name server says about a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Says {
    /// These addresses, good for so many seconds; of another family it says that there are none.
    Addresses(Vec<IpAddr>, u32),
    /// SERVFAIL.
    Failure,
    /// NXDOMAIN, as for all names that it was not told of.
    NoSuchName,
    /// Nothing at all.
    Silence,
}

/// Runs until it is dropped.
pub struct NameServer {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    asked: watch::Receiver<u64>,
    /// `resolv.conf` and `hosts` that lead here.
    folder: PathBuf,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    says: HashMap<String, Says>,
    /// Questions for addresses of IPv4, by name.
    questions: HashMap<String, u64>,
}

impl NameServer {
    pub async fn start() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = socket.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let (told, asked) = watch::channel(0);
        let task = tokio::spawn(serve(socket, Arc::clone(&state), told));
        let folder = std::env::temp_dir().join(format!("names-{}-{}", std::process::id(), address.port()));
        std::fs::create_dir_all(&folder).unwrap();
        let server = Self { address, state, asked, folder, task };
        server.write("resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n");
        server.write("hosts", "");
        server
    }

    /// Writes a file of its folder.
    pub fn write(&self, name: &str, text: &str) {
        crate::files::save(&self.path(name), text);
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// What it says from now on. Names have no dot at their end.
    pub fn say(&self, name: &str, what: Says) {
        self.state().says.insert(name.to_owned(), what);
    }

    /// The same, of addresses.
    pub fn say_addresses(&self, name: &str, addresses: &[&str], seconds: u32) {
        let addresses = addresses.iter().map(|ip| ip.parse().unwrap()).collect();
        self.say(name, Says::Addresses(addresses, seconds));
    }

    /// How often it was asked for a name's IPv4 addresses.
    pub fn asked(&self, name: &str) -> u64 {
        self.state().questions.get(name).copied().unwrap_or(0)
    }

    /// Waits until it was asked for a name so many times.
    pub async fn until_asked(&self, name: &str, times: u64) {
        let mut asked = self.asked.clone();
        asked.wait_for(|_| self.asked(name) >= times).await.unwrap();
    }

    /// Nobody answers at its address any more.
    pub async fn stop(&mut self) {
        self.task.abort();
        // An error: it was aborted, as asked.
        let _ = (&mut self.task).await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.task.abort();
        // An error leaves a few bytes in the folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

async fn serve(socket: UdpSocket, state: Arc<Mutex<State>>, told: watch::Sender<u64>) {
    let mut buffer = [0; 1500];
    loop {
        let (length, client) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            // A client has gone before its answer came.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
            Err(_) => return,
        };
        let Some(question) = Question::parse(&buffer[..length]) else { continue };
        let says = {
            let mut state = state.lock().unwrap();
            if question.kind == A {
                *state.questions.entry(question.name.clone()).or_default() += 1;
            }
            state.says.get(&question.name).cloned().unwrap_or(Says::NoSuchName)
        };
        if let Some(answer) = question.answer(&says) {
            let _ = socket.send_to(&answer, client).await;
        }
        told.send_modify(|asked| *asked += 1);
    }
}

const A: u16 = 1;
const AAAA: u16 = 28;

/// A question of RFC 1035, section 4.
struct Question {
    id: [u8; 2],
    /// As it was sent, with type and class.
    text: Vec<u8>,
    name: String,
    kind: u16,
}

impl Question {
    fn parse(message: &[u8]) -> Option<Self> {
        let mut at = 12;
        let mut labels = Vec::new();
        loop {
            let length = usize::from(*message.get(at)?);
            at += 1;
            if length == 0 {
                break;
            }
            labels.push(String::from_utf8_lossy(message.get(at..at + length)?).to_ascii_lowercase());
            at += length;
        }
        let kind = u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]);
        let text = message.get(12..at + 4)?.to_vec();
        Some(Self { id: [message[0], message[1]], text, name: labels.join("."), kind })
    }

    fn answer(&self, says: &Says) -> Option<Vec<u8>> {
        let (code, addresses, seconds) = match says {
            Says::Addresses(addresses, seconds) => (0, addresses.as_slice(), *seconds),
            Says::Failure => (2, [].as_slice(), 0),
            Says::NoSuchName => (3, [].as_slice(), 0),
            Says::Silence => return None,
        };
        let is_asked = |ip: &&IpAddr| self.kind == if ip.is_ipv4() { A } else { AAAA };
        let records: Vec<_> = addresses.iter().filter(is_asked).collect();
        let mut message = self.id.to_vec();
        // An answer, to a question that asked for recursion, which is there.
        message.extend([0x81, 0x80 | code]);
        for count in [1, records.len() as u16, 0, 0] {
            message.extend(count.to_be_bytes());
        }
        message.extend(&self.text);
        for ip in records {
            // The name of the question, the type, class IN.
            message.extend([0xc0, 12]);
            message.extend(self.kind.to_be_bytes());
            message.extend([0, 1]);
            message.extend(seconds.to_be_bytes());
            let bytes = match ip {
                IpAddr::V4(ip) => ip.octets().to_vec(),
                IpAddr::V6(ip) => ip.octets().to_vec(),
            };
            message.extend((bytes.len() as u16).to_be_bytes());
            message.extend(bytes);
        }
        Some(message)
    }
}
