//! What is encoded reads back as it was, and equal configuration gives equal bytes.

mod strategies;

use amime_xds::{decode, encode};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn clusters(cluster in strategies::cluster()) {
        let bytes = encode::cluster(&cluster);
        prop_assert_eq!(&encode::cluster(&cluster), &bytes);
        prop_assert_eq!(decode::cluster(&bytes), Ok(cluster));
    }

    #[test]
    fn endpoints(endpoints in strategies::endpoints()) {
        let bytes = encode::endpoints(&endpoints);
        prop_assert_eq!(&encode::endpoints(&endpoints), &bytes);
        prop_assert_eq!(decode::endpoints(&bytes), Ok(endpoints));
    }

    #[test]
    fn listeners(listener in strategies::listener()) {
        let bytes = encode::listener(&listener);
        prop_assert_eq!(&encode::listener(&listener), &bytes);
        prop_assert_eq!(decode::listener(&bytes), Ok(listener));
    }

    #[test]
    fn routes(routes in strategies::routes()) {
        let bytes = encode::route(&routes);
        prop_assert_eq!(&encode::route(&routes), &bytes);
        prop_assert_eq!(decode::route(&bytes), Ok(routes));
    }

    #[test]
    fn virtual_hosts(host in strategies::virtual_host()) {
        let bytes = encode::virtual_host(&host);
        prop_assert_eq!(&encode::virtual_host(&host), &bytes);
        prop_assert_eq!(decode::virtual_host(&bytes), Ok(host));
    }

    #[test]
    fn secrets(secret in strategies::secret()) {
        prop_assert_eq!(decode::secret(&encode::secret(&secret)), Ok(secret));
    }

    /// Whatever the bytes are, reading them ends in a value or an error.
    #[test]
    fn garbage(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = decode::cluster(&bytes);
        let _ = decode::endpoints(&bytes);
        let _ = decode::listener(&bytes);
        let _ = decode::route(&bytes);
        let _ = decode::virtual_host(&bytes);
        let _ = decode::secret(&bytes);
    }
}
