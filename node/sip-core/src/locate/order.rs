//! The order of SRV records (RFC 2782).

use crate::generator::Generator;
use crate::locate::Srv;

/// By priority; within one at random, by weight. A record of weight 0 has a small chance only.
pub(super) fn by_weight(mut records: Vec<Srv>, random: &mut Generator) -> Vec<Srv> {
    // Weight 0 first within a priority, as the algorithm of the RFC wants it.
    records.sort_by_key(|record| (record.priority, record.weight != 0));
    let mut ordered = Vec::with_capacity(records.len());
    while let Some(first) = records.first() {
        let group = records
            .iter()
            .take_while(|record| record.priority == first.priority)
            .count();
        let sum: u64 = records[..group].iter().map(|r| u64::from(r.weight)).sum();
        let mut drawn = random.number() % (sum + 1);
        let chosen = records[..group].iter().position(|record| {
            let weight = u64::from(record.weight);
            let found = drawn <= weight;
            drawn = drawn.saturating_sub(weight);
            found
        });
        ordered.push(records.remove(chosen.unwrap_or(0)));
    }
    ordered
}
