//! The order in which servers are tried (RFC 2782).

use rand::Rng;

/// `records` by priority, and at random by weight among equals, `most` of them at most; `rank` gives
/// priority and weight.
pub(crate) fn srv_order<T>(
    mut records: Vec<T>,
    most: usize,
    rank: impl Fn(&T) -> (u16, u16),
    random: &mut impl Rng,
) -> Vec<T> {
    let mut order = Vec::with_capacity(records.len().min(most));
    // Weight 0 stands first among its equals: it is chosen only if the number drawn is 0.
    records.sort_by_key(|record| {
        let (priority, weight) = rank(record);
        (priority, weight != 0)
    });
    while !records.is_empty() && order.len() < most {
        let (priority, _) = rank(&records[0]);
        let equals = records
            .iter()
            .take_while(|record| rank(record).0 == priority)
            .count();
        let sum: u32 = records[..equals]
            .iter()
            .map(|record| u32::from(rank(record).1))
            .sum();
        let chosen = if sum == 0 {
            // No weights at all: the RFC leaves the order open, an even spread is the useful one.
            random.random_range(0..equals)
        } else {
            let drawn = random.random_range(0..=sum);
            let mut running = 0;
            records[..equals]
                .iter()
                .position(|record| {
                    running += u32::from(rank(record).1);
                    running >= drawn
                })
                .unwrap_or(equals - 1)
        };
        order.push(records.remove(chosen));
    }
    order
}
