//! Several names of one cluster, of which some do not resolve.

use super::*;

fn cluster(hosts: &[&str]) -> Cluster {
    let endpoint = |host: &&str| {
        let address = EndpointAddress::Name { host: (*host).into(), port: 80 };
        Endpoint { address, ..Endpoint::at(([127, 0, 0, 1], 80).into()) }
    };
    let group = LocalityEndpoints { endpoints: hosts.iter().map(endpoint).collect(), ..Default::default() };
    let endpoints = ClusterEndpoints { cluster: "a".into(), localities: vec![group], ..Default::default() };
    Cluster::new("a", Discovery::StrictDns(endpoints))
}

async fn addresses(hosts: &[&str], known: &mut Known) -> Option<Vec<String>> {
    let found = resolve(&cluster(hosts), known).await?;
    let text = |endpoint: &Endpoint| match endpoint.address {
        EndpointAddress::Socket(address) => address.to_string(),
        _ => String::new(),
    };
    Some(found.localities[0].endpoints.iter().map(text).collect())
}

#[tokio::test]
async fn a_name_that_fails_keeps_its_addresses() {
    let mut known = Known::default();
    assert_eq!(addresses(&["-no-name-"], &mut known).await, None);
    assert_eq!(addresses(&["-no-name-", "127.0.0.1"], &mut known).await, Some(vec!["127.0.0.1:80".into()]));
    known.insert(("-no-name-".into(), 80), vec![([10, 0, 0, 1], 80).into()]);
    let both = Some(vec!["10.0.0.1:80".into(), "127.0.0.1:80".into()]);
    assert_eq!(addresses(&["-no-name-", "127.0.0.1"], &mut known).await, both);
}
