//! Percentiles of many times without keeping them.

use std::time::Duration;

/// Sub-buckets of each power of two: a figure is true to 1.6 %.
const FINE: u32 = 6;
const BUCKETS: usize = (64 - FINE as usize) << FINE;

#[derive(Clone)]
pub struct Times {
    counts: Vec<u64>,
    count: u64,
}

impl Default for Times {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], count: 0 }
    }
}

impl Times {
    pub fn add(&mut self, nanos: u64) {
        self.count += 1;
        self.counts[bucket(nanos).min(BUCKETS - 1)] += 1;
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    /// In milliseconds; `None` of nothing.
    pub fn percentile(&self, share: f64) -> Option<f64> {
        let wanted = (self.count as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Some(Duration::from_nanos(middle(index)).as_secs_f64() * 1000.0);
            }
        }
        None
    }

    pub fn merge(&mut self, other: &Times) {
        self.count += other.count;
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
    }
}

fn bucket(nanos: u64) -> usize {
    let magnitude = nanos.max(1).ilog2();
    if magnitude < FINE {
        return nanos as usize;
    }
    let shift = magnitude - FINE;
    ((shift as usize) << FINE) + (nanos >> shift) as usize
}

fn middle(bucket: usize) -> u64 {
    if bucket < 2 << FINE {
        return bucket as u64;
    }
    let shift = (bucket >> FINE) - 1;
    let head = (bucket - (shift << FINE)) as u64;
    (head << shift) + (1 << shift) / 2
}
