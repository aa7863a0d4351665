//! Several names of one cluster, of which some do not resolve; and when each is asked for again.

use super::*;

fn cluster(hosts: &[&str], of: fn(ClusterEndpoints) -> Discovery) -> Cluster {
    let endpoint = |host: &&str| {
        let address = EndpointAddress::Name { host: (*host).into(), port: 80 };
        Endpoint { address, ..Endpoint::at(([127, 0, 0, 1], 80).into()) }
    };
    let group = LocalityEndpoints { endpoints: hosts.iter().map(endpoint).collect(), ..Default::default() };
    let endpoints = ClusterEndpoints { cluster: "a".into(), localities: vec![group], ..Default::default() };
    Cluster::new("a", of(endpoints))
}

fn answer(addresses: &[&str]) -> Answer {
    Answer::of(addresses.iter().map(|ip| ip.parse().unwrap()))
}

fn addresses(cluster: &Cluster, known: &Known) -> Option<Vec<String>> {
    let found = endpoints(cluster, known)?;
    let text = |endpoint: &Endpoint| match endpoint.address {
        EndpointAddress::Socket(address) => address.to_string(),
        _ => String::new(),
    };
    Some(found.localities[0].endpoints.iter().map(text).collect())
}

#[test]
fn what_is_known_of_some_names_counts() {
    let cluster = cluster(&["a", "b"], Discovery::StrictDns);
    assert_eq!(names(&cluster).into_iter().collect::<Vec<_>>(), ["a", "b"]);
    let mut known = Known::default();
    assert_eq!(addresses(&cluster, &known), None);
    known.insert("b".into(), answer(&["10.0.0.2", "10.0.0.1", "10.0.0.2"]));
    assert_eq!(addresses(&cluster, &known).unwrap(), ["10.0.0.1:80", "10.0.0.2:80"]);
    known.insert("a".into(), answer(&["10.0.0.9"]));
    assert_eq!(addresses(&cluster, &known).unwrap(), ["10.0.0.9:80", "10.0.0.1:80", "10.0.0.2:80"]);
}

#[test]
fn logical_dns_goes_to_the_address_that_comes_first() {
    let cluster = cluster(&["a"], Discovery::LogicalDns);
    let known = Known::from([("a".to_owned(), answer(&["10.0.0.2", "10.0.0.1"]))]);
    assert_eq!(addresses(&cluster, &known).unwrap(), ["10.0.0.2:80"]);
}

#[test]
fn families_are_chosen_of_what_a_name_has() {
    let both = answer(&["10.0.0.1", "::1"]);
    let text = |answer: &Answer, family| {
        answer.addresses(family).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    let families = [DnsFamily::Auto, DnsFamily::V4Only, DnsFamily::V6Only, DnsFamily::V4Preferred, DnsFamily::All];
    assert_eq!(families.map(|f| text(&both, f)), ["::1", "10.0.0.1", "::1", "10.0.0.1", "10.0.0.1 ::1"]);
    let v6 = answer(&["::2"]);
    assert_eq!(families.map(|f| text(&v6, f)), ["::2", "", "::2", "::2", "::2"]);
}

#[test]
fn answers_are_good_for_as_long_as_they_say() {
    let seconds = Duration::from_secs;
    let options = |respect_ttl| DnsOptions { refresh: Some(seconds(60)), respect_ttl, ..DnsOptions::default() };
    let said = |secs| {
        let mut answer = answer(&["10.0.0.1"]);
        answer.valid = Some(seconds(secs));
        answer
    };
    assert_eq!(good_for(&options(true), &said(300), 0.0), seconds(300));
    assert_eq!(good_for(&options(false), &said(300), 0.0), seconds(60));
    // Nothing is said by zero, nor by the hosts file.
    assert_eq!(good_for(&options(true), &said(0), 0.0), seconds(60));
    assert_eq!(good_for(&options(true), &answer(&[]), 0.0), seconds(60));
    assert_eq!(good_for(&DnsOptions::default(), &said(300), 0.0), seconds(5));
    let jitter = DnsOptions { jitter: Some(seconds(2)), ..options(true) };
    assert_eq!(good_for(&jitter, &said(3), 0.5), seconds(4));
}

#[test]
fn failures_are_tried_again_sooner_than_answers() {
    let options = DnsOptions { refresh: Some(Duration::from_secs(60)), ..DnsOptions::default() };
    let after = |failures| again_after(&options, failures, 1.0).as_secs();
    assert_eq!([1, 2, 3, 6, 7, 4_000_000_000].map(after), [1, 2, 4, 32, 60, 60]);
    assert_eq!(again_after(&options, 7, 0.0).as_secs(), 30);
    assert_eq!(again_after(&DnsOptions { refresh: Some(Duration::ZERO), ..options }, 1, 1.0), SHORTEST);
}
