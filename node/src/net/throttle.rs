//! Token buckets per external domain: how many stanzas are taken from it, and how many new
//! subscription requests. One domain has one pair of buckets, however many streams it opens.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Domains remembered; beyond that the quiet ones are forgotten.
const MAX_DOMAINS: usize = 10_000;

/// A bucket that fills with time. It may go into debt: who takes anyway has to wait afterwards.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

/// How a bucket fills.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Rate {
    per_second: f64,
    burst: f64,
}

impl Bucket {
    fn full(now: Instant, rate: Rate) -> Self {
        Self {
            tokens: rate.burst,
            at: now,
        }
    }

    fn refill(&mut self, now: Instant, rate: Rate) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * rate.per_second).min(rate.burst);
        self.at = now;
    }

    /// Takes one, if need be on credit. Returns how long nothing more should be taken.
    fn take(&mut self, now: Instant, rate: Rate) -> Option<Duration> {
        self.refill(now, rate);
        self.tokens -= 1.0;
        (self.tokens < 0.0).then(|| Duration::from_secs_f64(-self.tokens / rate.per_second))
    }

    /// Takes one if there is one.
    fn try_take(&mut self, now: Instant, rate: Rate) -> bool {
        self.refill(now, rate);
        let there = self.tokens >= 1.0;
        if there {
            self.tokens -= 1.0;
        }
        there
    }
}

/// The buckets of one domain.
#[derive(Debug)]
pub(crate) struct DomainThrottle(Mutex<Buckets>);

#[derive(Debug)]
struct Buckets {
    stanzas: Bucket,
    subscriptions: Bucket,
}

impl DomainThrottle {
    /// One stanza was taken. `Some`: take no more for so long. `per_second` 0 is no limit.
    pub(crate) fn stanza(&self, now: Instant, per_second: u32) -> Option<Duration> {
        if per_second == 0 {
            return None;
        }
        self.lock().stanzas.take(now, stanzas(per_second))
    }

    /// Whether one more subscription request is allowed. `per_minute` 0 is no limit.
    pub(crate) fn subscription(&self, now: Instant, per_minute: u32) -> bool {
        per_minute == 0
            || self
                .lock()
                .subscriptions
                .try_take(now, subscriptions(per_minute))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Buckets> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stanzas(per_second: u32) -> Rate {
    Rate {
        per_second: f64::from(per_second),
        burst: f64::from(per_second) * 2.0,
    }
}

fn subscriptions(per_minute: u32) -> Rate {
    Rate {
        per_second: f64::from(per_minute) / 60.0,
        burst: f64::from(per_minute),
    }
}

/// The buckets of all domains.
#[derive(Debug, Default)]
pub(crate) struct Throttles(Mutex<HashMap<Arc<str>, Arc<DomainThrottle>>>);

impl Throttles {
    /// The buckets of `domain`; full ones when it was not heard of lately.
    pub(crate) fn of(
        &self,
        now: Instant,
        domain: &str,
        per_second: u32,
        per_minute: u32,
    ) -> Arc<DomainThrottle> {
        let mut domains = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = domains.get(domain) {
            return Arc::clone(known);
        }
        if domains.len() >= MAX_DOMAINS {
            domains.retain(|_, throttle| Arc::strong_count(throttle) > 1);
        }
        let new = Arc::new(DomainThrottle(Mutex::new(Buckets {
            stanzas: Bucket::full(now, stanzas(per_second)),
            subscriptions: Bucket::full(now, subscriptions(per_minute)),
        })));
        if domains.len() < MAX_DOMAINS {
            domains.insert(Arc::from(domain), Arc::clone(&new));
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(
        clippy::disallowed_methods,
        reason = "a starting point for virtual time"
    )]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_domain_is_held_to_its_rate_whatever_its_streams() {
        let now = start();
        let throttles = Throttles::default();
        let one = throttles.of(now, "peer.example", 10, 60);
        let other = throttles.of(now, "peer.example", 10, 60);
        for _ in 0..10 {
            assert_eq!(one.stanza(now, 10), None);
            assert_eq!(other.stanza(now, 10), None);
        }
        assert_eq!(one.stanza(now, 10), Some(Duration::from_millis(100)));
        assert_eq!(one.stanza(now + Duration::from_secs(1), 10), None);
        assert_eq!(
            throttles
                .of(now, "sub.peer.example", 10, 60)
                .stanza(now, 10),
            None
        );
        assert_eq!(one.stanza(now, 0), None);
    }

    #[test]
    fn subscriptions_beyond_the_rate_are_refused() {
        let now = start();
        let throttle = Throttles::default().of(now, "peer.example", 10, 2);
        assert!(throttle.subscription(now, 2));
        assert!(throttle.subscription(now, 2));
        assert!(!throttle.subscription(now, 2));
        assert!(throttle.subscription(now + Duration::from_secs(30), 2));
        assert!(!throttle.subscription(now + Duration::from_secs(30), 2));
    }
}
