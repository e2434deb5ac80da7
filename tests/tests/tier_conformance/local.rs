//! Memory alone, and disk alone.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use tiergate::record::{Time, Version, WriteOutcome};
use tiergate::tier::{Disk, Memory, Tier, disk, memory};
use tokio::time::sleep;

use crate::bench::{Bench, Rec, disk_config, key, open, real};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_in_memory_take_turns() {
    let memory = Arc::new(Memory::new(memory::Config { bytes_max: 64 << 20 }));
    let writers: Vec<_> = (0..4u64)
        .map(|writer| {
            let memory = memory.clone();
            tokio::task::spawn_blocking(move || {
                let mut last = 0;
                for version in (1..=5_000).map(|step| step * 4 + writer) {
                    let outcome = memory.set(&key("k"), Arc::new(real(version).build()), Time::now());
                    assert!(matches!(outcome, WriteOutcome::Stored | WriteOutcome::Superseded));
                    let seen = memory.get(&key("k")).unwrap().version.0;
                    assert!(seen >= last, "{seen} came after {last}");
                    last = seen;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(memory.get(&key("k")).unwrap().version, Version(20_003));
}

#[tokio::test]
async fn what_was_stored_on_disk_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let opened = open(&directory);
    assert!(opened.set_aside.is_none());
    assert_eq!(opened.disk.put(&key("k"), &real(1).build()).await, WriteOutcome::Stored);
    assert_eq!(
        opened.disk.put(&key("short"), &real(1).life(Duration::from_secs(1)).build()).await,
        WriteOutcome::Stored
    );

    // The file as a crash at this moment would leave it.
    let crashed = tempfile::tempdir().unwrap();
    std::fs::copy(directory.path().join("tier.redb"), crashed.path().join("tier.redb")).unwrap();
    drop(opened);
    sleep(Duration::from_secs(1)).await;
    for directory in [&directory, &crashed] {
        let opened = open(directory);
        assert!(opened.set_aside.is_none() && !opened.is_undone, "{:?}", opened.set_aside);
        let live = opened.disk.all_live(Time::now()).unwrap();
        assert_eq!(live.len(), 1, "{live:?}");
        assert_eq!((&live[0].0, &live[0].1.bytes), (&key("k"), &real(1).bytes()));
    }
}

#[tokio::test]
async fn a_disk_file_in_use_is_told_apart_from_a_broken_one() {
    let directory = tempfile::tempdir().unwrap();
    let opened = open(&directory);
    assert!(matches!(Disk::open(disk_config(&directory)), Err(disk::OpenError::AlreadyOpen(_))));
    drop(opened);
    assert!(open(&directory).set_aside.is_none(), "and it is not set aside");
}

#[tokio::test]
async fn a_broken_disk_file_is_set_aside_and_named() {
    for damage in [b"this is no database".to_vec(), vec![0; 10_000], vec![0xa5; 1 << 20]] {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("tier.redb"), &damage).unwrap();
        let opened = open(&directory);
        let (aside, why) = opened.set_aside.expect("it was set aside");
        assert!(aside.to_string_lossy().contains("tier.redb.broken-"), "{}: {why}", aside.display());
        assert_eq!(std::fs::read(aside).unwrap(), damage);
        assert_eq!(opened.disk.put(&key("k"), &real(1).build()).await, WriteOutcome::Stored);
    }
}

/// What a damaged file brings is what was written, and whatever of it is not there is told: the file was set aside, its last
/// commit was undone, or rows were counted as damaged.
async fn assert_nothing_is_served_damaged_or_gone_unsaid(opened: &disk::Opened, written: &[Rec], damage: &str) {
    let live = opened.disk.all_live(Time::now()).unwrap();
    for (name, record) in &live {
        let rec =
            written.iter().find(|rec| key(&format!("k{}", rec.version)) == *name).expect("a key that was written");
        assert_eq!(record.bytes, rec.bytes(), "{damage}");
    }
    let facts = opened.disk.check().await.unwrap().facts;
    let (_, damaged) = facts.iter().find(|(name, _)| name == "damaged_rows").expect("the number of damaged rows");
    let is_told = opened.set_aside.is_some() || opened.is_undone || damaged != "0";
    assert!(!opened.is_undone || live.len() + 1 >= written.len(), "{damage}: one commit is undone, not {live:?}");
    assert!(live.len() == written.len() || is_told, "{damage}: {} of {} are left", live.len(), written.len());
}

/// Forty values, and the file with them: as a crash would leave it, and closed.
async fn forty_values() -> (Vec<Rec>, [Vec<u8>; 2]) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tier.redb");
    let opened = open(&directory);
    let written: Vec<Rec> = (1..=40).map(|n| real(n).padding(1_000)).collect();
    for rec in &written {
        assert_eq!(opened.disk.put(&key(&format!("k{}", rec.version)), &rec.build()).await, WriteOutcome::Stored);
    }
    let crashed = std::fs::read(&path).unwrap();
    drop(opened);
    (written, [crashed, std::fs::read(&path).unwrap()])
}

async fn assert_damage_is_told(file: &[u8], written: &[Rec], damage: &str) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("tier.redb"), file).unwrap();
    assert_nothing_is_served_damaged_or_gone_unsaid(&open(&directory), written, damage).await;
}

#[tokio::test]
async fn a_damaged_disk_file_never_serves_damaged_values_and_loses_none_unsaid() {
    let (written, files) = forty_values().await;
    let mut chance = Rng::with_seed(11);
    for whole in files {
        // One bit, which may be where nothing lies or in what was written last, and more.
        for round in 0..200 {
            let flips = 1 + round % 8 * (round % 5);
            let mut damaged = whole.clone();
            for _ in 0..flips {
                let at = chance.u64(..damaged.len() as u64) as usize;
                damaged[at] ^= 1 << chance.u64(..8);
            }
            assert_damage_is_told(&damaged, &written, &format!("{flips} bits of {} bytes", whole.len())).await;
        }
    }
}

#[tokio::test]
async fn a_disk_file_that_was_cut_short_never_serves_damaged_values_and_loses_none_unsaid() {
    let (written, files) = forty_values().await;
    let mut chance = Rng::with_seed(12);
    for whole in files {
        let at_random = std::iter::repeat_with(|| chance.u64(1..whole.len() as u64) as usize).take(30);
        // A byte, pieces of the header, and all but the last byte, too.
        for left in [1, 512, 4_096, whole.len() - 1].into_iter().chain(at_random) {
            assert_damage_is_told(&whole[..left], &written, &format!("{left} bytes left of {}", whole.len())).await;
        }
    }
}

#[tokio::test]
async fn a_full_disk_tier_lets_the_oldest_go() {
    let directory = tempfile::tempdir().unwrap();
    let disk = open(&directory).disk;
    // Room for 1 MiB: ten of 100 KB, and what belongs to them.
    for n in 1..=30 {
        assert_eq!(disk.put(&key(&format!("k{n}")), &real(n).padding(100_000).build()).await, WriteOutcome::Stored);
    }
    let mut left: Vec<u64> = disk.all_live(Time::now()).unwrap().iter().map(|(_, record)| record.version.0).collect();
    left.sort_unstable();
    assert_eq!(left, (21..=30).collect::<Vec<_>>());
    let rows = disk::Config { rows_max: 3, ..disk_config(&directory) };
    drop(disk);
    let disk = Disk::open(rows).unwrap().disk;
    assert_eq!(disk.put(&key("k31"), &real(31).build()).await, WriteOutcome::Stored);
    assert_eq!(disk.all_live(Time::now()).unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_on_disk_share_a_flush() {
    let bench = Arc::new(Bench::disk().await);
    let writers: Vec<_> = (1..=200u64)
        .map(|n| {
            let bench = bench.clone();
            tokio::spawn(async move { bench.put(&format!("k{}", n % 50), real(n)).await })
        })
        .collect();
    for writer in writers {
        assert!(matches!(writer.await.unwrap(), WriteOutcome::Stored | WriteOutcome::Superseded));
    }
    for n in 151..=200 {
        bench.assert_holds(&format!("k{}", n % 50), real(n)).await;
    }
}
