//! What holds where other programs and other gateways write, too.

use std::task::Poll;
use std::time::Instant;

use bytes::Bytes;
use fastrand::Rng;
use tiergate::record::{DeleteOutcome, Kind, Version, WriteOutcome};
use tiergate::tier::{Found, TierError};

use crate::bench::{Bench, DEADLINE, SLACK, Under, key, placeholder, real, stamp_of};

suite! {
    [memcached, redis] other_programs_read_plain_bytes;
    [memcached, redis] junk_of_others_is_shown_with_its_flags_and_replaced;
    [memcached, redis] a_foreign_value_is_worth_what_its_content_says;
    [memcached, redis] what_nobody_can_judge_is_not_replaced;
    [memcached, redis] a_value_written_by_a_neighbour_is_judged_like_ones_own;
    [memcached, redis] what_another_gateway_deleted_is_kept_out;
    [memcached, redis] a_dead_server_fails_fast_and_is_used_again_when_it_is_back;
    [memcached, redis] a_frozen_server_costs_the_deadline_and_mixes_up_nothing;
    [memcached, redis] dropped_calls_poison_no_connection;
}

async fn other_programs_read_plain_bytes(bench: Bench) {
    assert_eq!(bench.put("k", real(1)).await, WriteOutcome::Stored);
    assert_eq!(bench.put("k", real(2)).await, WriteOutcome::Stored);
    assert_eq!(bench.stranger().await.get("k").await, Some(real(2).bytes()));
    // A value that came from a foreign producer goes out in the form in which it came.
    let mut copied = real(3).build();
    copied.foreign = Some(Bytes::from_static(br#"{"v": 3,  "kind": "real"}"#));
    assert_eq!(bench.tier.put(&key("k"), &copied).await, WriteOutcome::Stored);
    assert_eq!(bench.stranger().await.get("k").await, copied.foreign);
    assert_eq!(stamp_of(bench.read("k").await), Some((Kind::Real, 0, 3)));
    assert_eq!(bench.tier.put(&key("k"), &copied).await, WriteOutcome::Stored, "the same again");
    assert_eq!(bench.put("k", real(2)).await, WriteOutcome::Superseded);
}

async fn junk_of_others_is_shown_with_its_flags_and_replaced(bench: Bench) {
    // B16: a pickle over a JSON key; pymemcache marks it with flags 1.
    let pickle = b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x01a\x94K\x01s.";
    let flags = if matches!(bench.under, Under::Memcached(_)) { 1 } else { 0 };
    bench.stranger().await.set("k", pickle, flags).await;
    let Some(Found::Shared(payload)) = bench.read("k").await else { panic!("the pickle is there") };
    assert_eq!((&payload.bytes[..], payload.flags, payload.stamp), (&pickle[..], flags, None));
    assert_eq!(bench.put("k", placeholder(1)).await, WriteOutcome::Stored);
    assert_eq!(*bench.judge.flags_seen.lock().unwrap(), [flags]);
    assert_eq!(bench.stranger().await.get("k").await, Some(placeholder(1).bytes()));
}

async fn a_foreign_value_is_worth_what_its_content_says(bench: Bench) {
    bench.stranger().await.set("k", &real(100).bytes(), 0).await;
    assert_eq!(bench.put("k", real(99)).await, WriteOutcome::Superseded);
    assert_eq!(bench.put("k", placeholder(101)).await, WriteOutcome::Refused(Kind::Real));
    assert_eq!(bench.put("k", real(100)).await, WriteOutcome::Stored, "it is the same");
    assert_eq!(bench.put("k", real(101)).await, WriteOutcome::Stored);
    // A foreign set cannot be stopped, and what was noted about the old value does not hold for the new one.
    bench.stranger().await.set("k", &placeholder(500).bytes(), 0).await;
    assert_eq!(stamp_of(bench.read("k").await), None);
    assert_eq!(bench.put("k", real(101)).await, WriteOutcome::Stored);
    assert_eq!(stamp_of(bench.read("k").await), Some((Kind::Real, 0, 101)));
    bench.stranger().await.set("k", &real(7).bytes(), 0).await;
    assert_eq!(bench.delete("k", 6).await, DeleteOutcome::Superseded);
    assert_eq!(bench.delete("k", 7).await, DeleteOutcome::Deleted);
}

async fn what_nobody_can_judge_is_not_replaced(bench: Bench) {
    bench.stranger().await.set("k", b"puzzle", 0).await;
    let outcome = bench.put("k", real(1)).await;
    assert!(matches!(&outcome, WriteOutcome::Failed(why) if why.contains("ran out of time")), "{outcome:?}");
    assert!(matches!(bench.delete("k", 9).await, DeleteOutcome::Failed(_)));
    assert_eq!(bench.found("k").await.as_deref(), Some(&b"puzzle"[..]));
}

async fn a_value_written_by_a_neighbour_is_judged_like_ones_own(bench: Bench) {
    let neighbour = bench.neighbour();
    assert_eq!(neighbour.put(&key("k"), &real(10).build()).await, WriteOutcome::Stored);
    assert_eq!(bench.put("k", real(9)).await, WriteOutcome::Superseded);
    assert_eq!(bench.put("k", real(10)).await, WriteOutcome::Stored);
    assert_eq!(neighbour.put(&key("k"), &placeholder(11).build()).await, WriteOutcome::Refused(Kind::Real));
    assert_eq!(neighbour.put(&key("k"), &real(11).build()).await, WriteOutcome::Stored);
    bench.assert_holds("k", real(11)).await;
}

async fn what_another_gateway_deleted_is_kept_out(bench: Bench) {
    bench.tier.raise_floor(&key("k"), Version(5));
    assert_eq!(bench.put("k", real(5)).await, WriteOutcome::Superseded);
    assert_eq!(bench.found("k").await, None);
    assert_eq!(bench.put("k", real(6)).await, WriteOutcome::Stored);
}

async fn a_dead_server_fails_fast_and_is_used_again_when_it_is_back(mut bench: Bench) {
    assert_eq!(bench.put("k", real(1)).await, WriteOutcome::Stored);
    bench.kill();
    // What is waited for until a deadline says so. Once with the old connection and once without: five failures in a row may
    // open a breaker, which nobody closes here.
    let is_fast = |why: &str| assert!(!why.contains("no answer within"), "{why}");
    for _ in 0..2 {
        is_fast(&bench.tier.read(&[key("k")]).await.expect_err("an error is no miss").to_string());
        let outcome = bench.put("k", real(2)).await;
        assert!(matches!(outcome, WriteOutcome::Failed(_)), "{outcome:?}");
        is_fast(&outcome.reason().unwrap());
        let outcome = bench.delete("k", 0).await;
        assert!(matches!(outcome, DeleteOutcome::Failed(_)), "{outcome:?}");
        is_fast(&outcome.reason().unwrap());
    }
    bench.restart().await;
    assert_eq!(bench.found("k").await, None);
    assert_eq!(bench.put("k", real(2)).await, WriteOutcome::Stored);
    bench.assert_holds("k", real(2)).await;
}

async fn a_frozen_server_costs_the_deadline_and_mixes_up_nothing(bench: Bench) {
    for n in 1..=20 {
        assert_eq!(bench.put(&format!("k{n}"), real(n)).await, WriteOutcome::Stored);
    }
    bench.freeze();
    let mut took = Vec::new();
    for n in 1..=2 {
        let begun = Instant::now();
        let name = key(&format!("k{n}"));
        let (read, outcome, removed) = tokio::join!(
            bench.tier.read(std::slice::from_ref(&name)),
            bench.put("other", real(n)),
            bench.delete("third", n),
        );
        took.push(begun.elapsed());
        assert!(matches!(read, Err(TierError::Deadline(_) | TierError::Connect(_))), "{read:?}");
        assert!(matches!(outcome, WriteOutcome::Unknown(_) | WriteOutcome::Failed(_)), "{outcome:?}");
        assert!(matches!(removed, DeleteOutcome::Unknown(_) | DeleteOutcome::Failed(_)), "{removed:?}");
    }
    // Any of them may have met with a machine that stood still, too.
    assert!(took.iter().any(|took| *took < DEADLINE + SLACK), "{took:?}");
    bench.thaw();
    for round in 0..5 {
        for n in 1..=20 {
            assert_eq!(bench.found(&format!("k{n}")).await, Some(real(n).bytes()), "round {round}");
        }
    }
}

async fn dropped_calls_poison_no_connection(bench: Bench) {
    let mut chance = Rng::with_seed(7);
    for n in 1..=9 {
        assert_eq!(bench.put(&format!("k{n}"), real(n).padding(n as usize * 2_000)).await, WriteOutcome::Stored);
    }
    let mut dropped = 0;
    for round in 0..300 {
        let n = 1 + chance.u64(..9);
        let polls = 1 + chance.u64(..5);
        let (name, rec) = (format!("k{n}"), real(n).padding(n as usize * 2_000));
        let cut = match round % 3 {
            0 => given_up_after(polls, bench.found(&name)).await.is_none(),
            1 => given_up_after(polls, bench.put("w", real(round))).await.is_none(),
            _ => given_up_after(polls, bench.delete("w", round)).await.is_none(),
        };
        dropped += u32::from(cut);
        bench.assert_holds(&name, rec).await;
    }
    assert!(dropped > 30, "only {dropped} calls were dropped: the test proves nothing");
}

/// Drops `call` when it has been polled this often and is not done. Timers are too coarse to stop it at each of its steps.
async fn given_up_after<F: Future>(polls: u64, call: F) -> Option<F::Output> {
    let (mut call, mut left) = (std::pin::pin!(call), polls);
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        call.as_mut().poll(context).map(Some)
    })
    .await
}
