//! Time per packet of each step of the packet path: `cargo bench --bench packet`. The machine's mood is in
//! these figures; benches/instructions counts what does not depend on it.

mod common;

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// Packets made at a time: making them is not measured, and has to fit the memory.
const CHUNK: u64 = 10_000;

fn packet_path(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("packet");
    group.throughput(Throughput::Elements(1));
    group.sample_size(30).measurement_time(Duration::from_secs(2));
    group.warm_up_time(Duration::from_millis(500));
    for probe in common::all() {
        group.bench_function(&probe.name, |bencher| {
            bencher.iter_custom(|packets| {
                let (mut left, mut spent) = (packets, Duration::ZERO);
                while left > 0 {
                    let some = left.min(CHUNK) as usize;
                    let mut run = probe.prepare(some);
                    let begun = Instant::now();
                    let done = (0..some).filter(|n| run(*n) > 0).count();
                    spent += begun.elapsed();
                    assert_eq!(done, some, "{}: packets were dropped", probe.name);
                    left -= some as u64;
                }
                spent
            });
        });
    }
    group.finish();
}

criterion_group!(benches, packet_path);
criterion_main!(benches);
