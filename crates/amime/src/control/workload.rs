//! `--sidecar [NAMESPACE/]WORKLOAD`: whose sidecar is started elsewhere.

use std::str::FromStr;

/// The option as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WorkloadArg {
    /// `default` where none is written.
    namespace: String,
    workload: String,
}

impl WorkloadArg {
    /// Its namespace and name.
    pub(super) fn name(&self) -> (String, String) {
        (self.namespace.clone(), self.workload.clone())
    }
}

impl FromStr for WorkloadArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (namespace, workload) = text.split_once('/').unwrap_or(("default", text));
        if namespace.is_empty() || workload.is_empty() || workload.contains('/') {
            return Err("expected [NAMESPACE/]WORKLOAD".into());
        }
        Ok(Self { namespace: namespace.into(), workload: workload.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_read() {
        let name = |text: &str| text.parse::<WorkloadArg>().map(|arg| arg.name());
        assert_eq!(name("reviews-v1"), Ok(("default".into(), "reviews-v1".into())));
        assert_eq!(name("shop/reviews-v1"), Ok(("shop".into(), "reviews-v1".into())));
        for bad in ["", "/a", "a/", "a/b/c"] {
            assert!(name(bad).is_err(), "{bad}");
        }
    }
}
