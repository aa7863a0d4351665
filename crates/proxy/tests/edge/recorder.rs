//! The server behind the proxy: it parses as strictly as RFC 9112 allows and tells each message that arrived.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Takes requests, answers `ok`, and remembers `METHOD TARGET body=BYTES`, or what was malformed.
pub(crate) struct Recorder {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Recorder {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&told)));
            }
        });
        Self { address, seen }
    }

    /// What arrived whole since the last call.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

async fn serve(stream: TcpStream, seen: Arc<Mutex<Vec<String>>>) {
    let mut stream = BufReader::new(stream);
    loop {
        match message(&mut stream).await {
            Some(Ok((text, head))) => {
                seen.lock().unwrap().push(text);
                let body = if head { "" } else { "ok" };
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{body}");
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
            Some(Err(malformed)) => return seen.lock().unwrap().push(format!("MALFORMED {malformed}")),
            None => return,
        }
    }
}

/// The next message and whether it is a HEAD; None where the connection ends in it or before it.
async fn message(stream: &mut BufReader<TcpStream>) -> Option<Result<(String, bool), String>> {
    let mut lines = Vec::new();
    loop {
        match line(stream).await? {
            Ok(line) if line.is_empty() => break,
            Ok(line) => lines.push(line),
            Err(bad) => return Some(Err(bad)),
        }
    }
    let head = match Head::parse(&lines) {
        Ok(head) => head,
        Err(bad) => return Some(Err(bad)),
    };
    let length = match head.length {
        Some(length) => {
            stream.read_exact(&mut vec![0; length]).await.ok()?;
            length
        }
        None => match chunks(stream).await? {
            Ok(length) => length,
            Err(bad) => return Some(Err(bad)),
        },
    };
    Some(Ok((format!("{} {} body={length}{}", head.method, head.target, head.injected), head.method == "HEAD")))
}

struct Head {
    method: String,
    target: String,
    /// None for chunks.
    length: Option<usize>,
    injected: &'static str,
}

impl Head {
    fn parse(lines: &[String]) -> Result<Self, String> {
        let token = |text: &str| {
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+.^_`|~-".contains(&b))
        };
        let first = lines.first().ok_or("an empty head")?;
        let [method, target, "HTTP/1.1"] = first.split(' ').collect::<Vec<_>>()[..] else {
            return Err(format!("request line {first:?}"));
        };
        if !token(method) || target.bytes().any(|b| b <= b' ' || b == 0x7f) {
            return Err(format!("request line {first:?}"));
        }
        let (mut lengths, mut codings, mut hosts, mut injected) = (Vec::new(), Vec::new(), 0, "");
        for line in &lines[1..] {
            let (name, value) = line.split_once(':').ok_or_else(|| format!("header {line:?}"))?;
            if !token(name) || value.bytes().any(|b| b == 0 || b == b'\r' || b == b'\n') {
                return Err(format!("header {line:?}"));
            }
            match name.to_ascii_lowercase().as_str() {
                "content-length" => lengths.push(value.trim().to_owned()),
                "transfer-encoding" => codings.push(value.trim().to_ascii_lowercase()),
                "host" => hosts += 1,
                "x-injected" => injected = " x-injected",
                _ => {}
            }
        }
        let length = match (&lengths[..], &codings[..]) {
            ([], []) => Some(0),
            ([length], []) if length.bytes().all(|b| b.is_ascii_digit()) => length.parse().ok(),
            ([], [coding]) if coding == "chunked" => None,
            _ => return Err(format!("framing: content-length {lengths:?}, transfer-encoding {codings:?}")),
        };
        if hosts != 1 {
            return Err(format!("{hosts} hosts"));
        }
        Ok(Self { method: method.to_owned(), target: target.to_owned(), length, injected })
    }
}

async fn chunks(stream: &mut BufReader<TcpStream>) -> Option<Result<usize, String>> {
    let mut length = 0;
    loop {
        let line = match line(stream).await? {
            Ok(line) => line,
            Err(bad) => return Some(Err(bad)),
        };
        let size = line.split(';').next().unwrap_or_default();
        let Ok(size) = usize::from_str_radix(size, 16) else { return Some(Err(format!("chunk size {size:?}"))) };
        if size == 0 {
            break;
        }
        let mut data = vec![0; size + 2];
        stream.read_exact(&mut data).await.ok()?;
        if !data.ends_with(b"\r\n") {
            return Some(Err("chunk end".to_owned()));
        }
        length += size;
    }
    loop {
        match line(stream).await? {
            Ok(line) if line.is_empty() => return Some(Ok(length)),
            Ok(_) => {}
            Err(bad) => return Some(Err(bad)),
        }
    }
}

/// Up to CRLF; an LF alone, or a CR within, is malformed. None at the end.
async fn line(stream: &mut BufReader<TcpStream>) -> Option<Result<String, String>> {
    let mut bytes = Vec::new();
    stream.read_until(b'\n', &mut bytes).await.ok()?;
    match bytes.strip_suffix(b"\r\n") {
        Some(line) if !line.contains(&b'\r') => Some(Ok(String::from_utf8_lossy(line).into_owned())),
        None if !bytes.ends_with(b"\n") => None,
        _ => Some(Err(format!("line {:?}", String::from_utf8_lossy(&bytes)))),
    }
}
