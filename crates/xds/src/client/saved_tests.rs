use super::*;
use crate::test_mesh::mesh;
use amime_model::config::RouteConfig;
use proptest::prelude::*;

/// As a client that has accepted all of that would save it, with virtual hosts as resources where `vhds`.
fn saved(config: &ProxyConfig, vhds: bool) -> Saved {
    let interner = Interner::default();
    let mut saved = Saved { config: Arc::new(config.clone()), ..Saved::default() };
    for (name, routes) in config.routes.iter().filter(|_| vhds) {
        let head = RouteConfig { vhds: true, virtual_hosts: Vec::new(), ..(**routes).clone() };
        saved.parts.set_head(name, Some(Arc::new(head)));
        for host in &routes.virtual_hosts {
            let full: Arc<str> = crate::refs::host_name(name, &host.name).into();
            saved.parts.set_host(&interner, &full, Some(host.clone()));
            saved.versions[ResourceType::VirtualHost].insert(full, "1".into());
        }
    }
    saved.versions[ResourceType::Cluster] = config.clusters.keys().map(|name| (name.clone(), "7".into())).collect();
    saved
}

proptest! {
    #[test]
    fn what_was_saved_is_read_as_it_was(mesh in mesh(), vhds in any::<bool>()) {
        let saved = saved(&mesh.config, vhds);
        let bytes = saved.to_bytes();
        let read = Saved::parse(&bytes, &Interner::default()).expect("what was written");
        prop_assert_eq!(&read.config, &saved.config);
        prop_assert_eq!(&read.versions, &saved.versions);
        prop_assert_eq!(read.to_bytes(), bytes);
    }

    #[test]
    fn what_is_cut_off_or_changed_is_an_error(mesh in mesh(), at in any::<prop::sample::Index>(), flip in 1u8..) {
        let bytes = saved(&mesh.config, true).to_bytes();
        let cut = Saved::parse(&bytes[..at.index(bytes.len())], &Interner::default());
        prop_assert!(cut.is_err());
        let mut changed = bytes.to_vec();
        let at = at.index(changed.len());
        changed[at] ^= flip;
        prop_assert!(Saved::parse(&changed, &Interner::default()).is_err());
    }

    #[test]
    fn anything_else_is_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Saved::parse(&bytes, &Interner::default()).is_err());
        // With a right header, too.
        let mut whole = BytesMut::from(&MAGIC[..]);
        whole.put_u32_le(FORMAT);
        whole.put_u64_le(bytes.len() as u64);
        whole.put_u64_le(xxh64(&bytes, 0));
        whole.put_slice(&bytes);
        let _ = Saved::parse(&whole, &Interner::default());
    }
}

#[test]
fn the_errors_say_what_it_is() {
    let read = |bytes: &[u8]| Saved::parse(bytes, &Interner::default()).expect_err("an error").to_string();
    assert_eq!(read(b"apiVersion: v1\nkind: Service\nmetadata: {}"), "not a saved configuration");
    assert_eq!(read(b""), "not a saved configuration");
    assert_eq!(read(b"AMIMECFG"), "damaged or cut off");
    let mut newer = Saved::default().to_bytes().to_vec();
    newer[8] = 9;
    assert_eq!(read(&newer), "saved in format 9, and this is format 1");
}
