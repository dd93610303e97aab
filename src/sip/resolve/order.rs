//! The order of SRV records (RFC 2782). Pure.

use rand::RngExt as _;

use super::Srv;

/// Something with its place among others: those of one rank are equally good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ranked<T> {
    pub rank: u16,
    pub value: T,
}

/// In the order to be tried: by priority, and within one priority drawn by weight. The rank counts the
/// priorities, from 0 on.
pub fn ranked(mut records: Vec<Srv>, rng: &mut impl rand::Rng) -> Vec<Ranked<Srv>> {
    records.sort_by_key(|record| record.priority);
    let mut out = Vec::with_capacity(records.len());
    let (mut rank, mut rest) = (0, records);
    while let Some(priority) = rest.first().map(|record| record.priority) {
        let end = rest.partition_point(|record| record.priority == priority);
        let mut same: Vec<Srv> = rest.drain(..end).collect();
        // Those of weight 0 first, so that they have their small chance.
        same.sort_by_key(|record| record.weight != 0);
        while !same.is_empty() {
            let sum: u32 = same.iter().map(|record| u32::from(record.weight)).sum();
            let drawn = rng.random_range(0..=sum);
            let mut running = 0;
            let at = same.iter().position(|record| {
                running += u32::from(record.weight);
                running >= drawn
            });
            let value = same.remove(at.unwrap_or(0));
            out.push(Ranked { rank, value });
        }
        rank += 1;
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    use super::*;

    fn srv(priority: u16, weight: u16, target: &str) -> Srv {
        Srv { priority, weight, port: 5060, target: target.into() }
    }

    #[test]
    fn the_lower_priority_comes_first_whatever_the_weights() {
        for seed in 0..50 {
            let records = vec![srv(20, 900, "c"), srv(10, 0, "a"), srv(10, 5, "b")];
            let order = ranked(records, &mut StdRng::seed_from_u64(seed));
            let ranks: Vec<u16> = order.iter().map(|ranked| ranked.rank).collect();
            assert_eq!(ranks, [0, 0, 1]);
            assert_eq!(order[2].value.target, "c");
        }
    }

    #[test]
    fn within_one_priority_the_weights_decide_how_often_one_is_first() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut first: HashMap<String, u32> = HashMap::new();
        for _ in 0..10_000 {
            let records = vec![srv(1, 60, "a"), srv(1, 30, "b"), srv(1, 10, "c"), srv(1, 0, "z")];
            let order = ranked(records, &mut rng);
            assert_eq!(order.len(), 4);
            *first.entry(order[0].value.target.clone()).or_default() += 1;
        }
        let share = |name: &str| first.get(name).copied().unwrap_or_default();
        assert!((5_700..6_300).contains(&share("a")), "{first:?}");
        assert!((2_700..3_300).contains(&share("b")), "{first:?}");
        assert!((800..1_200).contains(&share("c")), "{first:?}");
        assert!((20..300).contains(&share("z")), "weight 0 has a small chance: {first:?}");
    }

    #[test]
    fn none_is_none() {
        assert!(ranked(Vec::new(), &mut StdRng::seed_from_u64(1)).is_empty());
    }
}
