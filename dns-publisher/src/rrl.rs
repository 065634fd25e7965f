//! Response rate limiting: our answers are larger than the questions, and the asker's address of a
//! UDP question may be forged. So each network gets only so many answers a second; of the rest every
//! second one is a truncated answer that leads an honest asker to TCP, and the others are dropped.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::network::{Network, masked};

/// Networks that share one limit: a /24 and a /56 are one customer's.
const V4_PREFIX: u8 = 24;
const V6_PREFIX: u8 = 56;
/// Slots in which a network may be found.
const WAYS: usize = 4;

/// Settings of the rate limiting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RrlConfig {
    /// Answers a second, and in one burst, for each IPv4 /24 and IPv6 /56. Default 20.
    /// 0 switches the limiting off.
    pub responses_per_second: u32,
    /// Every n-th answer over the limit is sent truncated instead of dropped: 1 all, 0 none.
    /// Default 2.
    pub slip: u32,
    /// Networks remembered, 40 octets each; rounded up to a power of two. Default 65,536.
    pub table: usize,
    /// Networks that are never limited. Default none.
    pub exempt: Vec<Network>,
}

impl Default for RrlConfig {
    fn default() -> Self {
        Self {
            responses_per_second: 20,
            slip: 2,
            table: 65_536,
            exempt: Vec::new(),
        }
    }
}

/// What to do with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Below the limit.
    Send,
    /// Above it: an empty answer with TC.
    Slip,
    /// Above it: nothing.
    Drop,
}

/// A table of token buckets that never grows: a network that is not in it takes the place of the one
/// of its set that was seen longest ago. That one starts again with a full bucket, so a flood from
/// more networks than the table has slots is limited by what those networks would get anyway.
#[derive(Debug)]
pub(crate) struct RateLimiter {
    config: RrlConfig,
    slots: Vec<Slot>,
    /// Keyed, so that nobody can aim at the set of another network.
    seed: u64,
    origin: Instant,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    network: u64,
    /// Thousandths of an answer.
    tokens: u64,
    /// Milliseconds since the origin, plus one; 0: never used.
    seen: u64,
    over: u32,
}

impl RateLimiter {
    pub(crate) fn new(config: RrlConfig, seed: u64, now: Instant) -> Self {
        let slots = config.table.clamp(WAYS, 1 << 24).next_power_of_two();
        Self {
            slots: vec![Slot::default(); slots],
            config,
            seed,
            origin: now,
        }
    }

    /// Counts an answer to `asker`.
    pub(crate) fn check(&mut self, asker: IpAddr, now: Instant) -> Verdict {
        let asker = asker.to_canonical();
        let rate = u64::from(self.config.responses_per_second);
        if rate == 0 || self.config.exempt.iter().any(|net| net.contains(asker)) {
            return Verdict::Send;
        }
        let elapsed = now.saturating_duration_since(self.origin);
        let now = to_millis(elapsed) + 1;
        let slip = self.config.slip;
        let slot = self.slot(network_key(asker), now, rate * 1000);
        let refill = (now - slot.seen.min(now)).saturating_mul(rate);
        slot.tokens = slot.tokens.saturating_add(refill).min(rate * 1000);
        slot.seen = now;
        if slot.tokens >= 1000 {
            slot.tokens -= 1000;
            slot.over = 0;
            return Verdict::Send;
        }
        slot.over = slot.over.wrapping_add(1);
        if slip > 0 && slot.over.is_multiple_of(slip) {
            Verdict::Slip
        } else {
            Verdict::Drop
        }
    }

    fn slot(&mut self, network: u64, now: u64, full: u64) -> &mut Slot {
        let sets = self.slots.len() / WAYS;
        let set = (mix(network ^ self.seed) as usize & (sets - 1)) * WAYS;
        let ways = &mut self.slots[set..set + WAYS];
        let known = ways
            .iter()
            .position(|slot| slot.seen != 0 && slot.network == network);
        let index = known.unwrap_or_else(|| {
            let oldest = (0..WAYS).min_by_key(|way| ways[*way].seen).unwrap_or(0);
            ways[oldest] = Slot {
                network,
                tokens: full,
                seen: now,
                over: 0,
            };
            oldest
        });
        &mut ways[index]
    }
}

fn to_millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX - 1)
}

/// The network as a number; the families can't meet, as no /56 begins with 64 zero bits in use.
fn network_key(address: IpAddr) -> u64 {
    match masked(
        address,
        if address.is_ipv4() {
            V4_PREFIX
        } else {
            V6_PREFIX
        },
    ) {
        IpAddr::V4(v4) => u64::from(u32::from(v4)),
        IpAddr::V6(v6) => ((u128::from(v6) >> 64) as u64) | 1,
    }
}

/// The finalizer of SplitMix64.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[expect(
        clippy::disallowed_methods,
        reason = "any origin of virtual time will do"
    )]
    fn limiter(config: RrlConfig) -> (RateLimiter, Instant) {
        let now = Instant::now();
        (RateLimiter::new(config, 7, now), now)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn count(limiter: &mut RateLimiter, asker: &str, times: u32, now: Instant) -> [u32; 3] {
        let mut counts = [0; 3];
        for _ in 0..times {
            match limiter.check(address(asker), now) {
                Verdict::Send => counts[0] += 1,
                Verdict::Slip => counts[1] += 1,
                Verdict::Drop => counts[2] += 1,
            }
        }
        counts
    }

    #[test]
    fn twenty_a_second_then_every_second_one_slips() {
        let (mut limiter, now) = limiter(RrlConfig::default());
        assert_eq!(count(&mut limiter, "192.0.2.1", 120, now), [20, 50, 50]);
        let later = now + Duration::from_millis(500);
        assert_eq!(count(&mut limiter, "192.0.2.1", 30, later), [10, 10, 10]);
        let much_later = now + Duration::from_secs(3600);
        assert_eq!(count(&mut limiter, "192.0.2.1", 20, much_later), [20, 0, 0]);
    }

    #[test]
    fn a_network_shares_its_limit_and_others_have_their_own() {
        let (mut limiter, now) = limiter(RrlConfig::default());
        count(&mut limiter, "192.0.2.1", 20, now);
        assert_ne!(limiter.check(address("192.0.2.254"), now), Verdict::Send);
        assert_ne!(
            limiter.check(address("::ffff:192.0.2.9"), now),
            Verdict::Send
        );
        assert_eq!(limiter.check(address("192.0.3.1"), now), Verdict::Send);
        count(&mut limiter, "2001:db8:0:1::1", 20, now);
        assert_ne!(
            limiter.check(address("2001:db8:0:ff::2"), now),
            Verdict::Send
        );
        assert_eq!(
            limiter.check(address("2001:db8:0:100::2"), now),
            Verdict::Send
        );
    }

    #[test]
    fn slip_can_be_all_or_none() {
        for (slip, expected) in [(0, [20, 0, 80]), (1, [20, 80, 0])] {
            let (mut limiter, now) = limiter(RrlConfig {
                slip,
                ..RrlConfig::default()
            });
            assert_eq!(count(&mut limiter, "192.0.2.1", 100, now), expected);
        }
    }

    #[test]
    fn exempt_networks_and_rate_zero_are_not_limited() {
        let (mut exempting, now) = limiter(RrlConfig {
            exempt: vec!["192.0.2.0/25".parse().unwrap()],
            ..RrlConfig::default()
        });
        assert_eq!(count(&mut exempting, "192.0.2.1", 99, now), [99, 0, 0]);
        assert_eq!(count(&mut exempting, "192.0.2.200", 99, now)[0], 20);
        let (mut off, now) = limiter(RrlConfig {
            responses_per_second: 0,
            ..RrlConfig::default()
        });
        assert_eq!(count(&mut off, "192.0.2.1", 99, now), [99, 0, 0]);
    }

    #[test]
    fn the_table_stays_as_large_as_it_was() {
        let (mut limiter, now) = limiter(RrlConfig {
            table: 64,
            ..RrlConfig::default()
        });
        for i in 0..10_000u32 {
            limiter.check(IpAddr::V4((i << 8).into()), now);
        }
        assert_eq!(limiter.slots.len(), 64);
    }
}
