//! What holds for every tier.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tiergate::record::{DeleteOutcome, Key, Kind, Origin, RejectedWhy, Repair, TierName, WriteOutcome};
use tiergate_tests::eventually;

use crate::bench::{Bench, bytes_of, key, placeholder, real, rec, remaining_of};

suite! {
    [memory, disk, memcached, redis] a_higher_version_wins_and_a_lower_one_is_superseded;
    [memory, disk, memcached, redis] a_placeholder_never_replaces_real_data;
    [memory, disk, memcached, redis] real_data_replaces_a_placeholder_of_a_later_version;
    [memory, disk, memcached, redis] ties_are_broken_by_the_digest;
    [memory, disk, memcached, redis] a_rank_counts_while_its_value_is_fresh_and_not_after;
    [memory, disk, memcached, redis] the_remaining_lifetime_is_kept;
    [memory, disk, memcached, redis] of_two_equal_values_the_longer_life_is_kept;
    [memory, disk, memcached, redis] a_missing_key_is_a_miss;
    [memory, disk, memcached, redis] the_largest_item_fits_and_one_byte_more_is_refused;
    [memory, disk, memcached, redis] a_key_of_250_bytes_is_as_good_as_any;
    [memory, disk, memcached, redis] a_delete_keeps_older_values_out_and_lets_newer_ones_in;
    [memory, disk, memcached, redis] a_delete_spares_a_newer_value;
    [memory, disk, memcached, redis] a_write_that_races_a_delete_leaves_nothing;
    [memory, disk, memcached, redis] an_exact_delete_removes_exactly_these_bytes;
    [memory, disk, memcached, redis] a_life_of_a_second_is_short_and_one_of_40_days_is_long;
    [memory, disk, memcached, redis] what_a_tier_can_never_take_is_rejected_with_the_reason;
    [memory, disk, memcached, redis] a_sign_of_life_tells_the_limit;
}

async fn a_higher_version_wins_and_a_lower_one_is_superseded(bench: Bench) {
    assert_eq!(bench.put("k", real(10)).await, WriteOutcome::Stored);
    assert_eq!(bench.put("k", real(11)).await, WriteOutcome::Stored);
    assert_eq!(bench.put("k", real(9)).await, WriteOutcome::Superseded);
    assert_eq!(bench.put("k", real(11)).await, WriteOutcome::Stored, "the same again");
    bench.assert_holds("k", real(11)).await;
    // Neighbours above 2^53, where doubles cannot tell them apart.
    assert_eq!(bench.put("k", real((1 << 53) + 1)).await, WriteOutcome::Stored);
    assert_eq!(bench.put("k", real(1 << 53)).await, WriteOutcome::Superseded);
}

async fn a_placeholder_never_replaces_real_data(bench: Bench) {
    assert_eq!(bench.put("k", real(10)).await, WriteOutcome::Stored);
    for version in [9, 10, 11, u64::MAX] {
        assert_eq!(bench.put("k", placeholder(version)).await, WriteOutcome::Refused(Kind::Real));
    }
    let ranked = placeholder(99).rank(9, Duration::from_secs(60));
    assert_eq!(bench.put("k", ranked).await, WriteOutcome::Refused(Kind::Real));
    bench.assert_holds("k", real(10)).await;
}

async fn real_data_replaces_a_placeholder_of_a_later_version(bench: Bench) {
    assert_eq!(bench.put("k", placeholder(99)).await, WriteOutcome::Stored);
    assert_eq!(bench.put("k", placeholder(98)).await, WriteOutcome::Superseded);
    assert_eq!(bench.put("k", real(1)).await, WriteOutcome::Stored);
    bench.assert_holds("k", real(1)).await;
}

async fn ties_are_broken_by_the_digest(bench: Bench) {
    let (one, other) = (real(5), real(5).padding(1));
    let (lesser, greater) = if one.build().digest < other.build().digest { (one, other) } else { (other, one) };
    for (name, first, second) in [("up", lesser, greater), ("down", greater, lesser)] {
        assert_eq!(bench.put(name, first).await, WriteOutcome::Stored);
        let expected = if name == "up" { WriteOutcome::Stored } else { WriteOutcome::Superseded };
        assert_eq!(bench.put(name, second).await, expected);
        bench.assert_holds(name, greater).await;
    }
}

async fn a_rank_counts_while_its_value_is_fresh_and_not_after(bench: Bench) {
    let fresh = Duration::from_secs(5);
    let begun = Instant::now();
    assert_eq!(bench.put("k", real(1).rank(5, fresh)).await, WriteOutcome::Stored);
    assert_eq!(bench.put("k", real(2)).await, WriteOutcome::Superseded, "{:?} of {fresh:?}", begun.elapsed());
    assert_eq!(bench.put("k", real(2).rank(6, fresh)).await, WriteOutcome::Stored);
    assert_eq!(bench.put("k", real(3).rank(5, fresh)).await, WriteOutcome::Superseded);
    eventually("the rank counts no more", async || {
        (bench.put("k", real(3)).await == WriteOutcome::Stored).then_some(())
    })
    .await;
}

async fn the_remaining_lifetime_is_kept(bench: Bench) {
    let life = Duration::from_secs(1_000);
    assert_eq!(bench.put("k", real(1).life(life)).await, WriteOutcome::Stored);
    let remaining = remaining_of(bench.read("k").await);
    assert!(remaining <= life + Duration::from_secs(1) && remaining > life - Duration::from_secs(5), "{remaining:?}");
}

async fn of_two_equal_values_the_longer_life_is_kept(bench: Bench) {
    let seconds = Duration::from_secs;
    assert_eq!(bench.put("k", real(1).life(seconds(100))).await, WriteOutcome::Stored);
    assert_eq!(bench.put("k", real(1).life(seconds(1_000))).await, WriteOutcome::Stored);
    assert!(remaining_of(bench.read("k").await) > seconds(900));
    assert_eq!(bench.put("k", real(1).life(seconds(10))).await, WriteOutcome::Stored);
    assert!(remaining_of(bench.read("k").await) > seconds(900));
}

async fn a_missing_key_is_a_miss(bench: Bench) {
    assert_eq!(bench.put("there", real(1)).await, WriteOutcome::Stored);
    let names: Vec<Key> = ["no", "there", "nor", "there"].map(key).into();
    let found = bench.tier.read(&names).await.unwrap();
    let found: Vec<Option<Bytes>> = found.into_iter().map(bytes_of).collect();
    assert_eq!(found, [None, Some(real(1).bytes()), None, Some(real(1).bytes())]);
    assert!(bench.tier.read(&[]).await.unwrap().is_empty());
}

async fn the_largest_item_fits_and_one_byte_more_is_refused(bench: Bench) {
    assert_eq!(bench.put("k", real(1)).await, WriteOutcome::Stored);
    let limit = bench.tier.check().await.unwrap().item_bytes_max.unwrap();
    // What the tier counts beside the padding follows from its own words.
    let WriteOutcome::Rejected(RejectedWhy::TooLarge { bytes, .. }) = bench.put("k", real(2).padding(limit)).await
    else {
        panic!("an item of twice the limit was not refused");
    };
    let largest = limit - (bytes - limit);
    let refused = bench.put("k", real(2).padding(largest + 1)).await;
    assert_eq!(refused, WriteOutcome::Rejected(RejectedWhy::TooLarge { bytes: limit + 1, limit }));
    bench.assert_holds("k", real(1)).await;
    assert_eq!(bench.put("k", real(2).padding(largest)).await, WriteOutcome::Stored);
    bench.assert_holds("k", real(2).padding(largest)).await;
}

async fn a_key_of_250_bytes_is_as_good_as_any(bench: Bench) {
    let name = "{k}".repeat(84)[..250].to_owned();
    assert_eq!(bench.put(&name, real(1)).await, WriteOutcome::Stored);
    bench.assert_holds(&name, real(1)).await;
    assert_eq!(bench.delete(&name, 1).await, DeleteOutcome::Deleted);
    assert_eq!(bench.found(&name).await, None);
}

async fn a_delete_keeps_older_values_out_and_lets_newer_ones_in(bench: Bench) {
    assert_eq!(bench.put("k", real(10)).await, WriteOutcome::Stored);
    assert_eq!(bench.delete("k", 20).await, DeleteOutcome::Deleted);
    assert_eq!(bench.found("k").await, None);
    assert_eq!(bench.delete("k", 15).await, DeleteOutcome::Absent);
    assert_eq!(bench.put("k", real(20)).await, WriteOutcome::Superseded, "the floor is the greatest one");
    assert_eq!(bench.found("k").await, None);
    assert_eq!(bench.put("k", real(21)).await, WriteOutcome::Stored);
    bench.assert_holds("k", real(21)).await;
}

async fn a_delete_spares_a_newer_value(bench: Bench) {
    assert_eq!(bench.put("k", real(10)).await, WriteOutcome::Stored);
    assert_eq!(bench.delete("k", 9).await, DeleteOutcome::Superseded);
    bench.assert_holds("k", real(10)).await;
}

async fn a_write_that_races_a_delete_leaves_nothing(bench: Bench) {
    for round in 0..60 {
        let name = format!("k{round}");
        let (outcome, removed) = tokio::join!(bench.put(&name, real(10)), bench.delete(&name, 10));
        assert_eq!(bench.found(&name).await, None, "round {round}: {outcome:?}, {removed:?}");
    }
}

async fn an_exact_delete_removes_exactly_these_bytes(bench: Bench) {
    assert_eq!(bench.put("k", real(10)).await, WriteOutcome::Stored);
    let other = real(9).build().digest;
    assert_eq!(bench.tier.delete_exact(&key("k"), other).await, DeleteOutcome::Superseded);
    bench.assert_holds("k", real(10)).await;
    let exact = real(10).build().digest;
    assert_eq!(bench.tier.delete_exact(&key("k"), exact).await, DeleteOutcome::Deleted);
    assert_eq!(bench.tier.delete_exact(&key("k"), exact).await, DeleteOutcome::Absent);
    // It leaves no floor: the same value may come back.
    assert_eq!(bench.put("k", real(10)).await, WriteOutcome::Stored);
}

async fn a_life_of_a_second_is_short_and_one_of_40_days_is_long(bench: Bench) {
    let (second, days) = (Duration::from_secs(1), Duration::from_secs(40 * 24 * 60 * 60));
    eventually("the short life is seen", async || {
        (bench.put("short", real(1).life(second)).await == WriteOutcome::Stored).then_some(())?;
        bench.found("short").await.map(|found| assert_eq!(found, real(1).bytes()))
    })
    .await;
    assert_eq!(bench.put("long", real(1).life(days)).await, WriteOutcome::Stored);
    let remaining = remaining_of(bench.read("long").await);
    assert!(remaining > days - Duration::from_secs(10) && remaining <= days + second, "{remaining:?}");
    eventually("the short life ends", async || bench.found("short").await.is_none().then_some(())).await;
    bench.assert_holds("long", real(1)).await;
}

async fn what_a_tier_can_never_take_is_rejected_with_the_reason(bench: Bench) {
    let shared = bench.tier.is_shared();
    let rejected = WriteOutcome::Rejected;
    assert_eq!(bench.put("ended", real(1).life(Duration::ZERO)).await, rejected(RejectedWhy::Ended));

    let negative = bench.put("negative", rec(Kind::Negative, 1)).await;
    let in_memory = bench.tier.name().as_str() == "memory";
    assert_eq!(negative, if in_memory { WriteOutcome::Stored } else { rejected(RejectedWhy::Negative) });

    let mut repaired = real(1).build();
    repaired.origin = Origin::Tier(TierName::new("elsewhere"));
    repaired.repairs = [Repair { code: "nan".into(), path: "$".into(), message: "a bare NaN".into() }].into();
    let outcome = bench.tier.put(&key("repaired"), &repaired).await;
    assert_eq!(outcome, if shared { rejected(RejectedWhy::Repaired) } else { WriteOutcome::Stored });
    assert_eq!(bench.found("repaired").await.is_none(), shared);
}

async fn a_sign_of_life_tells_the_limit(bench: Bench) {
    let health = bench.tier.check().await.unwrap();
    assert!(health.item_bytes_max.is_some_and(|bytes| bytes >= 1 << 20), "{health:?}");
    assert_eq!(health.version.is_some(), bench.tier.is_shared(), "{health:?}");
    assert!(health.facts.len() >= 3, "{health:?}");
    assert!(bench.tier.summary().starts_with(bench.tier.name().as_str()), "{}", bench.tier.summary());
}
