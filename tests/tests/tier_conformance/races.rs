//! Writers that race, and a checker of what a stranger sees meanwhile.

use std::time::Instant;

use fastrand::Rng;
use tiergate::record::{Digest, Kind, WriteOutcome};
use tiergate_tests::{PATIENCE, eventually};

use crate::bench::{Bench, Rec, key, kind_and_version, rec};

suite! {
    [memcached, redis] versions_never_go_back_whoever_races_whom;
    [memcached, redis] the_checker_notices_plain_sets;
}

/// Eight writers, half of them behind another gateway, write random kinds and versions while a stranger reads.
async fn versions_never_go_back_whoever_races_whom(bench: Bench) {
    for seed in 1..=3 {
        let name = format!("race:{seed}");
        let tiers = [bench.tier.clone(), bench.neighbour()];
        let writers = (0..8u64).map(|writer| {
            let (tier, name) = (tiers[writer as usize % 2].clone(), key(&name));
            tokio::spawn(async move {
                let (mut greatest, begun) = (None, Instant::now());
                for rec in random_records(seed * 100 + writer) {
                    let record = rec.build();
                    greatest = greatest.max(Some((record.kind, record.version.0, record.digest)));
                    // A write that lost too many rounds, or took too long, tries again, as the recovery lane does.
                    while let outcome @ (WriteOutcome::Failed(_) | WriteOutcome::Unknown(_)) =
                        tier.put(&name, &record).await
                    {
                        assert!(begun.elapsed() < PATIENCE, "seed {seed}: {outcome:?}");
                    }
                }
                greatest
            })
        });
        let (observed, greatest) = watch(&bench, &name, writers.collect()).await;
        check(&observed).unwrap_or_else(|fault| panic!("seed {seed}: {fault}"));
        let last = bench.found(&name).await.unwrap();
        let (kind, version) = kind_and_version(&last).unwrap();
        assert_eq!(Some((kind, version, Digest::of(&last))), greatest, "seed {seed}: the greatest is not what stays");
    }
}

/// The same, written by strangers with plain `set`: shows that the checker can fail.
async fn the_checker_notices_plain_sets(bench: Bench) {
    // Writers may be done before anything was observed.
    eventually("something is noticed", async || {
        let mut writers = Vec::new();
        for writer in 0..8u64 {
            let mut stranger = bench.stranger().await;
            writers.push(tokio::spawn(async move {
                for rec in random_records(writer) {
                    stranger.set("race", &rec.bytes(), 0).await;
                }
                None
            }));
        }
        let (observed, _) = watch(&bench, "race", writers).await;
        check(&observed).err()
    })
    .await;
}

fn random_records(seed: u64) -> impl Iterator<Item = Rec> {
    let mut chance = Rng::with_seed(seed);
    std::iter::repeat_with(move || {
        let kind = if chance.u64(..4) == 0 { Kind::Real } else { Kind::Placeholder };
        rec(kind, 1 + chance.u64(..1_000)).padding(chance.u64(..50) as usize)
    })
    .take(60)
}

type Place = (Kind, u64, Digest);

/// Reads the key as fast as it can until the writers are done.
async fn watch(
    bench: &Bench,
    name: &str,
    writers: Vec<tokio::task::JoinHandle<Option<Place>>>,
) -> (Vec<(Kind, u64)>, Option<Place>) {
    let mut stranger = bench.stranger().await;
    let mut observed = Vec::new();
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
        observed.extend(stranger.get(name).await.and_then(|bytes| kind_and_version(&bytes)));
    }
    let mut greatest = None;
    for writer in writers {
        greatest = greatest.max(writer.await.unwrap());
    }
    (observed, greatest)
}

/// What no reader may ever see: a kind that falls, or within a kind a version that falls.
fn check(observed: &[(Kind, u64)]) -> Result<(), String> {
    match observed.windows(2).find(|pair| pair[1] < pair[0]) {
        Some(pair) => Err(format!("{:?} came after {:?}", pair[1], pair[0])),
        None => Ok(()),
    }
}
