//! How many connections a listener admits: in all, and of one address as long as they have not
//! authenticated. 10,000 idle sockets of one address cost that address its room, nobody else's.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// The counters of one listener.
#[derive(Debug)]
pub(crate) struct Admission {
    max: usize,
    max_per_address: usize,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    unauthenticated: HashMap<IpAddr, usize>,
}

/// Why a connection is not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The listener is full.
    Full,
    /// The address has too many connections that have not authenticated.
    Address,
}

impl Admission {
    pub(crate) fn new(max: usize, max_per_address: usize) -> Arc<Self> {
        Arc::new(Self {
            max,
            max_per_address,
            counts: Mutex::default(),
        })
    }

    /// Admits a connection of `address`. The permit counts until it is dropped.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr) -> Result<Permit, Refusal> {
        let address = address.to_canonical();
        let mut counts = self.lock();
        if counts.all >= self.max {
            return Err(Refusal::Full);
        }
        let of_address = counts.unauthenticated.entry(address).or_default();
        if *of_address >= self.max_per_address {
            return Err(Refusal::Address);
        }
        *of_address += 1;
        counts.all += 1;
        Ok(Permit {
            admission: Arc::clone(self),
            unauthenticated: Some(address),
        })
    }

    /// Connections admitted now.
    pub(crate) fn open(&self) -> usize {
        self.lock().all
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One admitted connection.
#[derive(Debug)]
pub(crate) struct Permit {
    admission: Arc<Admission>,
    unauthenticated: Option<IpAddr>,
}

impl Permit {
    /// The connection proved who it is: it no longer counts against its address.
    pub(crate) fn authenticated(&mut self) {
        if let Some(address) = self.unauthenticated.take() {
            release(&mut self.admission.lock(), address);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = self.admission.lock();
        counts.all -= 1;
        if let Some(address) = self.unauthenticated.take() {
            release(&mut counts, address);
        }
    }
}

fn release(counts: &mut Counts, address: IpAddr) {
    if let Some(count) = counts.unauthenticated.get_mut(&address) {
        *count -= 1;
        if *count == 0 {
            counts.unauthenticated.remove(&address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_uses_up_its_own_room_only() {
        let admission = Admission::new(4, 2);
        let one = IpAddr::from([192, 0, 2, 1]);
        let mut first = admission.admit(one).unwrap();
        let second = admission.admit(one).unwrap();
        assert_eq!(admission.admit(one).unwrap_err(), Refusal::Address);
        let _other = admission.admit(IpAddr::from([192, 0, 2, 2])).unwrap();
        first.authenticated();
        let _third = admission.admit(one).unwrap();
        assert_eq!(
            admission.admit(IpAddr::from([192, 0, 2, 3])).unwrap_err(),
            Refusal::Full
        );
        drop(second);
        assert_eq!(admission.open(), 3);
    }
}
