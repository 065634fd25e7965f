//! Which servers of a domain to try, and in which order (RFC 6120 section 3.2, RFC 2782, XEP-0368).

use rand::Rng;

use crate::net::srv_order;

/// The port of federation where DNS names none.
pub(super) const DEFAULT_PORT: u16 = 5269;
/// Targets tried for one stream; a domain that publishes more is not served better by more.
const MAX_TARGETS: usize = 16;

/// One server to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// A host name in A-labels, or an IP address.
    pub(super) host: String,
    pub(super) port: u16,
    /// TLS from the first byte.
    pub(super) direct_tls: bool,
}

impl std::fmt::Display for Target {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            out,
            "{}:{}{}",
            self.host,
            self.port,
            if self.direct_tls { " (direct TLS)" } else { "" }
        )
    }
}

/// One SRV record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SrvRecord {
    pub(super) priority: u16,
    pub(super) weight: u16,
    pub(super) target: Target,
}

/// What the two SRV questions of a domain gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Services {
    /// Records; direct TLS and STARTTLS together.
    Found(Vec<SrvRecord>),
    /// The only target is `.`: the domain says that it does not federate.
    NotHere,
    /// No SRV records, or no answer: the domain itself, port 5269 (RFC 6120 section 3.2.2).
    None,
}

/// The records in the order of trying: by priority, and at random by weight among equals (RFC 2782).
/// Direct TLS has no precedence of its own: both kinds count by their priority (XEP-0368 section 3).
pub(super) fn in_order(records: Vec<SrvRecord>, random: &mut impl Rng) -> Vec<Target> {
    let rank = |record: &SrvRecord| (record.priority, record.weight);
    let order = srv_order(records, MAX_TARGETS, rank, random);
    order.into_iter().map(|record| record.target).collect()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn record(host: &str, priority: u16, weight: u16) -> SrvRecord {
        let target = Target {
            host: host.to_owned(),
            port: DEFAULT_PORT,
            direct_tls: false,
        };
        SrvRecord {
            priority,
            weight,
            target,
        }
    }

    fn hosts(order: &[Target]) -> Vec<&str> {
        order.iter().map(|target| target.host.as_str()).collect()
    }

    #[test]
    fn a_lower_priority_goes_first_whatever_the_weights() {
        let mut random = StdRng::seed_from_u64(1);
        for _ in 0..50 {
            let records = vec![
                record("c", 30, 65535),
                record("a", 10, 0),
                record("b", 20, 1),
            ];
            assert_eq!(hosts(&in_order(records, &mut random)), ["a", "b", "c"]);
        }
    }

    #[test]
    fn weights_decide_how_often_a_target_is_first() {
        let mut random = StdRng::seed_from_u64(2);
        let mut first = [0_u32; 3];
        for _ in 0..10_000 {
            let order = in_order(
                vec![record("0", 5, 10), record("1", 5, 30), record("2", 5, 60)],
                &mut random,
            );
            assert_eq!(order.len(), 3);
            first[order[0].host.parse::<usize>().unwrap()] += 1;
        }
        for (count, percent) in first.iter().zip([10_u32, 30, 60]) {
            let expected = percent * 100;
            assert!(count.abs_diff(expected) < 300, "{first:?}");
        }
    }

    #[test]
    fn equal_weights_and_no_weights_spread_evenly() {
        for weight in [0, 7] {
            let mut random = StdRng::seed_from_u64(3);
            let mut first = [0_u32; 3];
            for _ in 0..9_000 {
                let records = (0..3)
                    .map(|host| record(&host.to_string(), 5, weight))
                    .collect();
                first[in_order(records, &mut random)[0]
                    .host
                    .parse::<usize>()
                    .unwrap()] += 1;
            }
            assert!(
                first.iter().all(|count| count.abs_diff(3_000) < 450),
                "weight {weight}: {first:?}"
            );
        }
    }

    #[test]
    fn weight_zero_beside_others_is_chosen_rarely_but_is_there() {
        let mut random = StdRng::seed_from_u64(4);
        let mut zero_first = 0;
        for _ in 0..10_000 {
            let order = in_order(
                vec![record("zero", 5, 0), record("ten", 5, 99)],
                &mut random,
            );
            assert_eq!(order.len(), 2);
            zero_first += u32::from(order[0].host == "zero");
        }
        assert!((20..300).contains(&zero_first), "{zero_first}");
    }

    #[test]
    fn a_flood_of_records_is_cut() {
        let records = (0..500)
            .map(|host| record(&host.to_string(), 1, 1))
            .collect();
        assert_eq!(
            in_order(records, &mut StdRng::seed_from_u64(5)).len(),
            MAX_TARGETS
        );
    }
}
