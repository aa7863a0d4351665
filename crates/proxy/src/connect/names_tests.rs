//! The files that names are looked up by, and what name servers say.

use super::*;
use amime_testkit::dns::{NameServer, Says};

fn names(server: &NameServer) -> Names {
    Names::of_files(server.path("resolv.conf"), server.path("hosts"), server.address.port())
}

async fn of(names: &Names, host: &str) -> Option<String> {
    let answer = names.ask(host, DnsFamily::All).await?;
    Some(answer.addresses(DnsFamily::All).iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
}

#[tokio::test]
async fn answers_say_how_long_they_are_good_for() {
    let server = NameServer::start().await;
    let names = names(&server);
    server.say_addresses("a.example", &["10.0.0.2", "10.0.0.1", "::1"], 300);
    let answer = names.ask("a.example", DnsFamily::V4Only).await.unwrap();
    assert_eq!(answer.addresses(DnsFamily::All), ["10.0.0.2", "10.0.0.1"].map(|ip| ip.parse::<IpAddr>().unwrap()));
    let valid = answer.valid.unwrap();
    assert!(valid <= Duration::from_secs(300) && valid > Duration::from_secs(200), "{valid:?}");
    assert_eq!(of(&names, "a.example").await.unwrap(), "10.0.0.2 10.0.0.1 ::1");
    assert_eq!(server.asked("a.example"), 2, "nothing is remembered");
    assert_eq!(of(&names, "10.0.0.7").await.unwrap(), "10.0.0.7");
    for (says, name) in [(Says::Failure, "broken.example"), (Says::NoSuchName, "no.example")] {
        server.say(name, says);
        assert_eq!(of(&names, name).await, None, "{name}");
    }
    assert_eq!(of(&names, "no name at all..").await, None);
}

#[tokio::test]
async fn the_hosts_file_comes_first_and_is_read_again() {
    let server = NameServer::start().await;
    let names = names(&server);
    server.say_addresses("a.example", &["10.0.0.1", "::1"], 300);
    server.write("hosts", "10.9.9.9 a.example other # a comment\n");
    // Not ::1 as well: who is in the file is not asked for.
    assert_eq!(of(&names, "a.example").await.unwrap(), "10.9.9.9");
    assert_eq!(of(&names, "other").await.unwrap(), "10.9.9.9");
    assert_eq!(names.ask("other", DnsFamily::All).await.unwrap().valid, None);
    server.write("hosts", "127.0.0.1 localhost\n");
    assert_eq!(of(&names, "a.example").await.unwrap(), "10.0.0.1 ::1");
    assert_eq!(of(&names, "localhost").await.unwrap(), "127.0.0.1");
}

#[tokio::test]
async fn search_lists_are_gone_through() {
    let server = NameServer::start().await;
    server.write("resolv.conf", "nameserver 127.0.0.1\nsearch one.example two.example\noptions ndots:2\n");
    let names = names(&server);
    server.say_addresses("a.two.example", &["10.0.0.2"], 300);
    server.say_addresses("a.b", &["10.0.0.3"], 300);
    server.say_addresses("a.b.c", &["10.0.0.4"], 300);
    assert_eq!(of(&names, "a").await.unwrap(), "10.0.0.2");
    assert_eq!(of(&names, "a.b").await.unwrap(), "10.0.0.3");
    assert_eq!(server.asked("a.b.one.example"), 1, "fewer dots than ndots");
    assert_eq!(of(&names, "a.b.c").await.unwrap(), "10.0.0.4");
    assert_eq!(server.asked("a.b.c.one.example"), 0);
    server.say_addresses("a.two.example.", &["10.0.0.2"], 300);
    assert_eq!(of(&names, "a.two.example.").await.unwrap(), "10.0.0.2");
}
