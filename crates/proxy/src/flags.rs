//! Envoy's response flags: why an answer is what it is, in two or three letters.
//!
//! `respond` and the request path set them; the log, the metrics and the `x-amime-flag` header show them.

/// A set of response flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Flags(u32);

macro_rules! flags {
    ($($bit:literal $name:ident $long:ident $doc:literal,)*) => {
        impl Flags {
            $(#[doc = $doc] pub const $name: Self = Self(1 << $bit);)*

            const NAMES: &'static [(u32, &'static str, &'static str)] =
                &[$((1 << $bit, stringify!($name), stringify!($long)),)*];
        }
    };
}

// In the order in which Envoy prints several of them.
flags! {
    0 UH NoHealthyUpstream "No healthy upstream host.",
    1 UF UpstreamConnectionFailure "The upstream connection could not be made.",
    2 UO UpstreamOverflow "Over a limit of the cluster (circuit breaking).",
    3 NR NoRouteFound "No route, or no filter chain for a connection.",
    4 URX UpstreamRetryLimitExceeded "The retries (or TCP connection attempts) were used up.",
    5 NC NoClusterFound "The route's cluster is not there.",
    6 DT DurationTimeout "The request took longer than its whole time.",
    7 DC DownstreamConnectionTermination "The client went away.",
    8 UT UpstreamRequestTimeout "The upstream request timed out.",
    9 LR LocalReset "Reset by this proxy.",
    10 UR UpstreamRemoteReset "Reset by the upstream.",
    11 UC UpstreamConnectionTermination "The upstream connection ended.",
    12 DI DelayInjected "A delay was injected.",
    13 FI FaultInjected "An abort was injected.",
    14 RL RateLimited "Rate limited.",
    15 UAEX UnauthorizedExternalService "Refused by authorization.",
    16 SI StreamIdleTimeout "No bytes on the stream for too long.",
    17 DPE DownstreamProtocolError "The client broke the protocol.",
    18 UPE UpstreamProtocolError "The upstream broke the protocol.",
    19 UMSDR UpstreamMaxStreamDurationReached "The upstream stream took longer than its whole time.",
    20 NFCF NoFilterConfigFound "A filter's configuration is not there.",
    21 OM OverloadManagerTerminated "The proxy is overloaded.",
    22 DF DnsResolutionFailed "The name of the request does not resolve.",
}

impl Flags {
    pub const NONE: Self = Self(0);

    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) const fn bits(self) -> u32 {
        self.0
    }

    /// The flags by their long names: `UpstreamConnectionFailure`.
    pub(crate) fn long(self) -> String {
        struct Long(Flags);
        impl std::fmt::Display for Long {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.names(|(.., name)| name, f)
            }
        }
        Long(self).to_string()
    }

    fn names(
        self,
        name: fn(&(u32, &'static str, &'static str)) -> &'static str,
        f: &mut std::fmt::Formatter<'_>,
    ) -> std::fmt::Result {
        if self.is_empty() {
            return f.write_str("-");
        }
        let mut first = true;
        for flag in Self::NAMES.iter().filter(|(bit, ..)| self.0 & bit != 0) {
            if !std::mem::take(&mut first) {
                f.write_str(",")?;
            }
            f.write_str(name(flag))?;
        }
        Ok(())
    }

    /// One flag by its letters.
    pub fn parse(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, n, _)| *n == name).map(|(bit, ..)| Self(*bit))
    }
}

impl std::fmt::Display for Flags {
    /// `UF,URX`; `-` for none, as in Envoy's log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.names(|(_, name, _)| name, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_flags() {
        assert_eq!(Flags::NONE.to_string(), "-");
        assert_eq!(Flags::URX.with(Flags::UF).to_string(), "UF,URX");
        assert_eq!(Flags::URX.with(Flags::UF).long(), "UpstreamConnectionFailure,UpstreamRetryLimitExceeded");
        assert_eq!(Flags::parse("NR"), Some(Flags::NR));
        assert_eq!(Flags::parse("XX"), None);
    }
}
