use super::*;

#[test]
fn wildcards_overlap_both_ways() {
    assert!(overlaps("*.example.com", "a.example.com"));
    assert!(overlaps("*.com", "*.example.com"));
    assert!(overlaps("*", "a"));
    assert!(!overlaps("*.example.com", "example.com"));
    assert!(!overlaps("a.com", "b.com"));
}

#[test]
fn subsets_are_one_way() {
    assert!(subset_of("a.example.com", "*.example.com"));
    assert!(subset_of("*.a.example.com", "*.example.com"));
    assert!(!subset_of("*.example.com", "*.a.example.com"));
    assert!(!subset_of("*.example.com", "a.example.com"));
}

#[test]
fn the_narrower_survives_an_intersection() {
    let a = ["*.example.com".to_string(), "b.org".to_string()];
    let b = ["x.example.com".to_string(), "*".to_string()];
    assert_eq!(intersection(&a, &b), ["x.example.com", "*.example.com", "b.org"]);
}

#[test]
fn the_longest_wildcard_wins() {
    let hosts = ["*", "*.com", "*.example.com"];
    assert_eq!(most_specific("a.example.com", hosts.iter().copied()), Some("*.example.com"));
    assert_eq!(most_specific("*.a.example.com", hosts.iter().copied()), Some("*.example.com"));
    assert_eq!(most_specific("a.org", hosts[1..].iter().copied()), None);
}

#[test]
fn an_index_finds_what_a_scan_finds() {
    let hosts = ["a.example.com", "b.example.com", "*.example.com", "*.com", "*", "*.b.example.com", "c.org"];
    let mut index: HostIndex<Vec<&str>> = HostIndex::default();
    for host in hosts {
        index.entry(host).push(host);
    }
    for needle in ["a.example.com", "x.example.com", "*.b.example.com", "*.x.b.example.com", "c.org", "d.org", "*"] {
        let scan = most_specific(needle, hosts.iter().copied());
        assert_eq!(index.most_specific(needle).map(|v| v[0]), scan, "{needle}");
        let mut found: Vec<_> = index.overlapping(needle).flatten().copied().collect();
        let mut wanted: Vec<_> = hosts.iter().copied().filter(|h| overlaps(h, needle)).collect();
        found.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(found, wanted, "{needle}");
    }
}

#[test]
fn names_resolve_in_their_own_namespace() {
    assert_eq!(resolve_short("reviews", "shop"), "reviews.shop.svc.cluster.local");
    assert_eq!(resolve_short("reviews.pay", "shop"), "reviews.pay");
    assert_eq!(resolve_short("10.0.0.1", "shop"), "10.0.0.1");
    assert_eq!(resolve_gateway("gw", "shop"), "shop/gw");
    assert_eq!(resolve_gateway("./gw", "shop"), "shop/gw");
    assert_eq!(resolve_gateway("gw.pay.svc.cluster.local", "shop"), "pay/gw");
    assert_eq!(resolve_gateway("pay/gw", "shop"), "pay/gw");
    assert_eq!(resolve_gateway("mesh", "shop"), "mesh");
}
