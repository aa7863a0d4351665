//! What `amime explain` says of a request is what comes of it: configurations and requests by chance, sent through the
//! running proxies of `amime up` and asked of `explain`. `AMIME_AGREEMENT` is how many (500), `AMIME_SEED` the first seed.

mod common;
#[path = "agreement/written.rs"]
mod written;

use amime_testkit::chance::Chance;
use common::{Answer, Mesh, try_send};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use written::{Asked, FRONT};

/// Requests of one configuration.
const EACH: usize = 100;

#[test]
fn explain_says_what_the_proxies_do() {
    let number =
        |name: &str, usual: usize| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual);
    let (count, first) = (number("AMIME_AGREEMENT", 500), number("AMIME_SEED", 1));
    let mut differing = Vec::new();
    let mut kinds = BTreeMap::new();
    for seed in first..first + count.div_ceil(EACH) {
        differing.extend(differences(seed as u64, &mut kinds));
    }
    println!("{kinds:?}");
    assert!(["forward", "forward 503", "respond 404", "respond 418"].iter().all(|kind| kinds.contains_key(*kind)));
    println!("{} of {count} agree, from seed {first}", count - differing.len().min(count));
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

fn differences(seed: u64, kinds: &mut BTreeMap<String, usize>) -> Vec<String> {
    let mut chance = Chance::new(seed);
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().expect("a file");
    std::fs::write(file.path(), written::manifests(&mut chance)).expect("written");
    let asked: Vec<Asked> = (0..EACH).map(|_| Asked::by_chance(&mut chance)).collect();
    let answers = explained(file.path(), &asked);
    for answer in &answers {
        *kinds.entry(kind(&answer["verdict"])).or_default() += 1;
    }
    let mesh = Mesh::up([file.path()]);
    let differs = |(number, (asked, answer)): (usize, (&Asked, &Value))| {
        let seen = if asked.from_front { from_front(&mesh, asked) } else { from_outside(&mesh, asked) };
        let why = disagreement(&answer["verdict"], &seen)?;
        Some(format!("seed {seed}, request {number}: {why}\n  {asked:?}\n  {}\n  {seen:?}", answer["verdict"]))
    };
    asked.iter().zip(&answers).enumerate().filter_map(differs).collect()
}

/// What `explain` says, a line for each.
fn explained(file: &Path, asked: &[Asked]) -> Vec<Value> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_amime"))
        .args(["explain", "--requests", "-", "-o", "json", "-f"])
        .arg(file)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("started");
    let lines: String = asked.iter().enumerate().map(|(id, asked)| format!("{}\n", asked.line(id))).collect();
    let mut input = child.stdin.take().expect("piped");
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = child.wait_with_output().expect("ended");
    writer.join().expect("joined").expect("written");
    let mut answers: Vec<Value> = vec![Value::Null; asked.len()];
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let answer: Value = serde_json::from_str(line).expect("JSON");
        let id: usize = answer["id"].as_str().expect("an id").parse().expect("a number");
        answers[id] = answer;
    }
    answers
}

/// What came of a request.
#[derive(Debug, Default)]
struct Seen {
    /// None: no connection, or none that was answered.
    status: Option<u64>,
    location: Option<String>,
    /// Who answered.
    workload: String,
    path: String,
    headers: Value,
}

impl Seen {
    fn of(status: Option<u64>, answer: &Value) -> Self {
        let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
        Self {
            status,
            location: None,
            workload: text("workload"),
            path: text("path"),
            headers: answer["headers"].clone(),
        }
    }
}

fn from_outside(mesh: &Mesh, asked: &Asked) -> Seen {
    let user = asked.user.map(|user| ("x-user", user));
    let headers: Vec<_> = user.into_iter().collect();
    let answer = try_send(mesh.port(80), asked.method, &asked.host, &asked.path, &headers).expect("an answer");
    let Answer { status, headers, body } = answer;
    let json = serde_json::from_str(&body).unwrap_or(Value::Null);
    Seen { location: headers.get("location").cloned(), ..Seen::of(Some(u64::from(status)), &json) }
}

/// A good answer is that of whom it came from; another is told by its status.
fn from_front(mesh: &Mesh, asked: &Asked) -> Seen {
    let call = format!("http://{}{}", asked.host, asked.path);
    let mut headers = vec![("x-amime-call", call.as_str())];
    headers.extend(asked.user.map(|user| ("x-user", user)));
    let answer = try_send(mesh.port(80), "GET", FRONT, "/", &headers).expect("an answer");
    let called = &answer.json()["called"];
    let status = if called.get("workload").is_some() { Some(200) } else { called["status"].as_u64() };
    Seen::of(status, called)
}

/// What kinds of answers there were: the comparison says something only where requests are of many kinds.
fn kind(verdict: &Value) -> String {
    let status = verdict["status"].as_u64().map(|status| format!(" {status}")).unwrap_or_default();
    format!("{}{status}", verdict["action"].as_str().unwrap_or("no answer"))
}

/// Why the two are not one. A request whose name nobody knows is sent by nobody, so that `explain` has no answer.
fn disagreement(verdict: &Value, seen: &Seen) -> Option<String> {
    let Some(action) = verdict["action"].as_str() else {
        return seen.status.map(|status| format!("{status}, where explain has no answer"));
    };
    if action == "refuse" {
        return seen.status.map(|status| format!("{status}, where explain says that it is refused"));
    }
    let destinations = verdict["destinations"].as_array().map(Vec::as_slice).unwrap_or_default();
    let may_fail = destinations.iter().any(|to| to["state"] != "ready");
    if let Some(status) = verdict["status"].as_u64().filter(|status| seen.status != Some(*status)) {
        return Some(format!("status {:?}, not {status}", seen.status));
    }
    if let (Some(location), Some(found)) = (verdict["location"].as_str(), &seen.location)
        && location != found
    {
        return Some(format!("location {found}, not {location}"));
    }
    if action != "forward" || verdict["status"].is_u64() || (may_fail && seen.status == Some(503)) {
        return None;
    }
    let is = |to: &&Value| {
        let service = to["host"].as_str().unwrap_or_default().split('.').next().unwrap_or_default();
        let subset = to["subset"].as_str().map_or_else(String::new, |subset| format!("-{subset}"));
        seen.workload.starts_with(&format!("{service}{subset}")) && to["state"] == "ready"
    };
    if destinations.iter().find(is).is_none() {
        return Some(format!("{:?} answered ({:?})", seen.workload, seen.status));
    }
    let path = verdict["request"]["path"].as_str().unwrap_or_default();
    if seen.path != path {
        return Some(format!("path {}, not {path}", seen.path));
    }
    edits_disagree(&verdict["request"], &seen.headers)
}

/// Headers that were to be set, and those that were to go.
fn edits_disagree(request: &Value, headers: &Value) -> Option<String> {
    for (name, values) in request["set_headers"].as_object().into_iter().flatten() {
        if values[0] != headers[name] {
            return Some(format!("header {name} is {}, not {}", headers[name], values[0]));
        }
    }
    let removed = request["removed_headers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let still = removed.iter().filter_map(Value::as_str).find(|name| headers.get(*name).is_some());
    still.map(|name| format!("header {name} is still there"))
}
