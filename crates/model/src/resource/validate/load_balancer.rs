//! Load balancing: hash keys, localities, warm-up.

use super::names;
use super::report::Report;
use crate::resource::destination_rule::{ConsistentHash, LoadBalancer, LocalityFailover, LocalityLb, ZoneAwareLb};
use crate::yaml::Path;

/// The labels that say where an endpoint is.
const TOPOLOGY: &[&str] =
    &["topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone"];

/// `has_outlier`: failover looks at endpoints' health.
pub(super) fn check(report: &mut Report<'_>, at: &Path<'_>, balancer: &LoadBalancer, has_outlier: bool) {
    report.at_most_one(
        at,
        &[
            ("simple", balancer.simple.is_some()),
            ("consistentHash", balancer.consistent_hash.is_some()),
            ("backendUtilization", balancer.backend_utilization.is_some()),
        ],
    );
    if let Some(hash) = &balancer.consistent_hash {
        consistent_hash(report, &at.key("consistentHash"), hash);
    }
    report.at_most_one(
        at,
        &[
            ("localityLbSetting", balancer.locality_lb_setting.is_some()),
            ("zoneAwareLbSetting", balancer.zone_aware_lb_setting.is_some()),
        ],
    );
    if let Some(setting) = &balancer.locality_lb_setting {
        locality(report, &at.key("localityLbSetting"), setting, has_outlier);
    }
    if let Some(setting) = &balancer.zone_aware_lb_setting {
        zone_aware(report, &at.key("zoneAwareLbSetting"), setting, has_outlier);
    }
    if balancer.warmup_duration_secs.is_some() {
        report.deprecated(&at.key("warmupDurationSecs"), "warmup.duration");
        names::duration(report, at, "warmupDurationSecs", balancer.warmup_duration_secs);
    }
    if let Some(warmup) = &balancer.warmup {
        let at = at.key("warmup");
        if warmup.duration.is_none() {
            report.error(&at.key("duration"), "a warm-up needs a `duration`");
        }
        names::duration(report, &at, "duration", warmup.duration);
        if warmup.minimum_percent.is_some_and(|percent| !(0.0..=100.0).contains(&percent)) {
            report.error(&at.key("minimumPercent"), "a percentage is from 0 to 100");
        }
        if warmup.aggression.is_some_and(|aggression| aggression <= 0.0) {
            report.error(&at.key("aggression"), "the aggression is above 0");
        }
    }
}

fn consistent_hash(report: &mut Report<'_>, at: &Path<'_>, hash: &ConsistentHash) {
    report.at_most_one(
        at,
        &[
            ("httpHeaderName", hash.http_header_name.is_some()),
            ("httpCookie", hash.http_cookie.is_some()),
            ("useSourceIp", hash.use_source_ip.is_some()),
            ("httpQueryParameterName", hash.http_query_parameter_name.is_some()),
        ],
    );
    report.at_most_one(
        at,
        &[
            ("ringHash", hash.ring_hash.is_some()),
            ("maglev", hash.maglev.is_some()),
            ("minimumRingSize", hash.minimum_ring_size != 0),
        ],
    );
    if hash.minimum_ring_size != 0 {
        report.deprecated(&at.key("minimumRingSize"), "ringHash.minimumRingSize");
    }
    if let Some(cookie) = &hash.http_cookie {
        let at = at.key("httpCookie");
        if cookie.name.is_empty() {
            report.error(&at, "a cookie needs a `name`");
        }
        let list = at.key("attributes");
        for (index, attribute) in cookie.attributes.iter().enumerate() {
            let at = list.index(index);
            if attribute.name.is_empty() {
                report.error(&at, "an attribute needs a `name`");
            } else if cookie.attributes[..index].iter().any(|earlier| earlier.name == attribute.name) {
                report.error(&at, format!("the attribute `{}` is there twice", attribute.name));
            }
        }
    }
    if let Some(maglev) = &hash.maglev
        && (maglev.table_size >= 5_000_011 || !is_prime(maglev.table_size))
    {
        report.error(&at.key("maglev").key("tableSize"), "the size of a Maglev table is a prime below 5000011");
    }
}

fn is_prime(number: u64) -> bool {
    let divides = |divisor: &u64| number.is_multiple_of(*divisor);
    number > 1 && !(2..).take_while(|divisor| divisor * divisor <= number).any(|divisor| divides(&divisor))
}

pub(super) fn locality(report: &mut Report<'_>, at: &Path<'_>, setting: &LocalityLb, has_outlier: bool) {
    if !setting.distribute.is_empty() && !setting.failover.is_empty() {
        return report.error(&at.key("failover"), "only one of `distribute` and `failover` can be set");
    }
    let priorities = at.key("failoverPriority");
    for (index, label) in setting.failover_priority.iter().enumerate() {
        if !setting.failover.is_empty() && TOPOLOGY.contains(&label.as_str()) {
            report.error(&priorities.index(index), format!("`failover` and {label} cannot stand together"));
        }
    }
    let list = at.key("distribute");
    let mut sources = Localities::default();
    for (index, share) in setting.distribute.iter().enumerate() {
        let at = list.index(index);
        report.result(&at.key("from"), sources.add(&share.from));
        let to = at.key("to");
        let mut targets = Localities::default();
        for (locality, weight) in &share.to {
            let at = to.key(locality);
            if !(1..=100).contains(weight) {
                report.error(&at, "a share is from 1 to 100");
            }
            report.result(&at, targets.add(locality));
        }
        if share.to.values().map(|weight| u64::from(*weight)).sum::<u64>() != 100 {
            report.error(&to, "the shares must add up to 100");
        }
    }
    failover(report, at, &setting.failover, !setting.failover_priority.is_empty(), has_outlier);
}

fn zone_aware(report: &mut Report<'_>, at: &Path<'_>, setting: &ZoneAwareLb, has_outlier: bool) {
    let priorities = at.key("failoverPriority");
    for (index, label) in setting.failover_priority.iter().enumerate() {
        if TOPOLOGY.contains(&label.as_str()) {
            report.error(&priorities.index(index), format!("{label} is looked at in any case"));
        }
    }
    if setting.min_cluster_size == Some(0) {
        report.error(&at.key("minClusterSize"), "the size of a cluster is 1 or more");
    }
    failover(report, at, &setting.failover, !setting.failover_priority.is_empty(), has_outlier);
}

fn failover(
    report: &mut Report<'_>,
    at: &Path<'_>,
    failover: &[LocalityFailover],
    has_priorities: bool,
    has_outlier: bool,
) {
    if (!failover.is_empty() || has_priorities) && !has_outlier {
        report.warning(at, "failover needs outlierDetection, or nothing is ever found to have failed");
    }
    let list = at.key("failover");
    for (index, pair) in failover.iter().enumerate() {
        let at = list.index(index);
        if pair.from == pair.to {
            report.error(&at, "failover goes from one region to another");
        }
        for (name, region) in [("from", &pair.from), ("to", &pair.to)] {
            if region.contains(['/', '*']) {
                report.error(&at.key(name), "failover is between regions: no zones, no wildcards");
            }
        }
    }
}

/// Localities (`region/zone/subzone`, `*` at the end) that must not overlap.
#[derive(Default)]
struct Localities<'a> {
    seen: Vec<Vec<&'a str>>,
}

impl<'a> Localities<'a> {
    fn add(&mut self, locality: &'a str) -> Result<(), String> {
        let wildcards = locality.matches('*').count();
        if wildcards > 1 || (wildcards == 1 && !locality.ends_with('*')) {
            return Err(format!("\"{locality}\": one * at the end, or none"));
        }
        let mut parts: Vec<&str> = locality.splitn(3, '/').collect();
        if parts.contains(&"") {
            return Err(format!("\"{locality}\" is not of the form REGION/ZONE/SUBZONE"));
        }
        // A shorter locality means all that is in it, as `*` does.
        if parts.last() == Some(&"*") {
            parts.pop();
        }
        let overlaps = self.seen.iter().any(|earlier| {
            let shared = earlier.len().min(parts.len());
            earlier[..shared] == parts[..shared]
        });
        if overlaps {
            return Err(format!("\"{locality}\" overlaps with one before it"));
        }
        self.seen.push(parts);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn primes() {
        let primes: Vec<u64> = (0..30).filter(|number| is_prime(*number)).collect();
        assert_eq!(primes, [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]);
        assert!(is_prime(65537) && !is_prime(65536));
    }

    #[test]
    fn localities_overlap() {
        let add = |list: &[&'static str]| {
            let mut localities = Localities::default();
            list.iter().try_for_each(|locality| localities.add(locality)).is_ok()
        };
        assert!(add(&["a/b/c", "a/b/d", "a/c", "b/*"]));
        for bad in
            [&["a", "a/b"][..], &["a/*", "a/b/c"], &["a/b", "a/b/*"], &["*", "a"], &["a//c"], &["a*b"], &["*/*"], &[""]]
        {
            assert!(!add(bad), "{bad:?}");
        }
    }
}
