use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use tokio::time::advance;

use super::*;
use crate::record::{DeleteOutcome, Digest, Key, Record, Version, WriteOutcome};
use crate::tier::{Found, Health};

/// A tier that answers probes when it is up, at once.
struct Endpoint {
    name: TierName,
    breakers: Breakers,
    is_up: AtomicBool,
}

#[async_trait]
impl Tier for Endpoint {
    fn name(&self) -> &TierName {
        &self.name
    }

    fn summary(&self) -> String {
        "an endpoint".to_owned()
    }

    fn is_shared(&self) -> bool {
        true
    }

    async fn read(&self, _: &[Key]) -> Result<Vec<Option<Found>>, TierError> {
        Ok(Vec::new())
    }

    async fn put(&self, _: &Key, _: &Record) -> WriteOutcome {
        WriteOutcome::Stored
    }

    async fn delete(&self, _: &Key, _: Version) -> DeleteOutcome {
        DeleteOutcome::Absent
    }

    async fn delete_exact(&self, _: &Key, _: Digest) -> DeleteOutcome {
        DeleteOutcome::Absent
    }

    async fn check(&self) -> Result<Health, TierError> {
        if self.is_up.load(Relaxed) { Ok(Health::default()) } else { Err(out_of_reach()) }
    }

    fn breakers(&self) -> Option<&Breakers> {
        Some(&self.breakers)
    }
}

fn endpoint() -> Endpoint {
    let name = TierName::new("memcached");
    let breakers = Breakers::new(&name, &Config::default());
    Endpoint { name, breakers, is_up: AtomicBool::new(false) }
}

fn breaker() -> Breaker {
    Breaker::new(TierName::new("memcached"), Side::Read, Config::default())
}

fn out_of_reach() -> TierError {
    TierError::Connect("refused".to_owned())
}

/// Makes `times` calls with this answer, each after `pause`.
async fn calls(breaker: &Breaker, times: u32, pause: Duration, answer: Result<(), TierError>) {
    for _ in 0..times {
        advance(pause).await;
        drop(breaker.call(async { answer.clone() }).await);
    }
}

const TENTH: Duration = Duration::from_millis(100);
const QUARTER: Duration = Duration::from_millis(250);

#[tokio::test(start_paused = true)]
async fn five_failures_in_a_row_that_last_a_second_open_it_and_four_do_not() {
    let breaker = breaker();
    calls(&breaker, 4, QUARTER * 2, Err(out_of_reach())).await;
    assert_eq!(breaker.standing().phase, Phase::Closed);
    calls(&breaker, 1, QUARTER, Err(out_of_reach())).await;
    assert_eq!(breaker.standing().phase, Phase::Open);
    let why = breaker.standing().why.expect("a reason");
    assert_eq!(&*why, "5 calls in a row failed; cannot connect: refused");
}

#[tokio::test(start_paused = true)]
async fn a_hiccup_shorter_than_a_second_does_not_open_it() {
    let breaker = breaker();
    calls(&breaker, 19, TENTH / 2, Err(out_of_reach())).await;
    calls(&breaker, 1, TENTH / 2, Ok(())).await;
    assert_eq!(breaker.standing().phase, Phase::Closed);
}

#[tokio::test(start_paused = true)]
async fn half_of_twenty_calls_failing_opens_it_and_less_does_not() {
    for (one_failure_in, expected) in [(2, Phase::Open), (3, Phase::Closed)] {
        let breaker = breaker();
        for n in 0..40 {
            calls(&breaker, 1, TENTH, if n % one_failure_in == 0 { Err(out_of_reach()) } else { Ok(()) }).await;
        }
        assert_eq!(breaker.standing().phase, expected, "one call in {one_failure_in} failed");
    }
}

#[tokio::test(start_paused = true)]
async fn of_nineteen_calls_no_share_tells_anything_and_of_twenty_it_does() {
    for (calls, expected) in [(19, Phase::Closed), (20, Phase::Open)] {
        let breaker = breaker();
        for n in 0..calls {
            breaker.record(Duration::ZERO, (n % 2 == 0).then(out_of_reach).as_ref());
        }
        assert_eq!(breaker.standing().calls, calls);
        // It has looked so for a second, if twenty calls were there then.
        advance(LASTING).await;
        breaker.record(Duration::ZERO, Some(&out_of_reach()));
        assert_eq!(breaker.standing().phase, expected, "{calls} calls");
    }
}

#[tokio::test(start_paused = true)]
async fn four_of_five_calls_that_are_slow_open_it_and_fewer_do_not() {
    let slow = Config::default().slow;
    for (fast_calls, slow_calls, expected) in [(20, 80, Phase::Open), (21, 79, Phase::Closed)] {
        let breaker = breaker();
        (0..fast_calls).for_each(|_| breaker.record(slow, None));
        (0..slow_calls).for_each(|_| breaker.record(slow + Duration::from_nanos(1), None));
        assert_eq!(breaker.standing().slow, slow_calls, "a call that takes just as long as may be is not slow");
        advance(LASTING).await;
        breaker.record(TENTH * 2, None);
        assert_eq!(breaker.standing().phase, expected, "{slow_calls} of 100 calls");
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_are_slow_open_it_though_every_one_is_answered() {
    let breaker = breaker();
    for n in 0..40 {
        let answered = breaker.call(async {
            tokio::time::sleep(if n % 10 == 0 { TENTH } else { TENTH * 2 }).await;
            Ok::<_, TierError>(())
        });
        drop(answered.await);
    }
    assert_eq!(breaker.standing().phase, Phase::Open);
    assert!(breaker.standing().why.is_some_and(|why| why.ends_with("calls were slow")));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_an_answer_however_often_it_comes() {
    let breaker = breaker();
    calls(&breaker, 100, TENTH, Err(TierError::Refused("OOM".to_owned()))).await;
    assert_eq!(breaker.standing().phase, Phase::Closed);
    assert_eq!(breaker.standing().failed, 0);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_gives_up_after_a_long_wait_counts_and_one_that_leaves_at_once_does_not() {
    let breaker = breaker();
    for _ in 0..10 {
        let stuck = breaker.call(std::future::pending::<Result<(), TierError>>());
        assert!(tokio::time::timeout(TENTH, stuck).await.is_err());
    }
    assert_eq!(breaker.standing().calls, 0);
    for _ in 0..5 {
        let stuck = breaker.call(std::future::pending::<Result<(), TierError>>());
        assert!(tokio::time::timeout(QUARTER, stuck).await.is_err());
    }
    assert_eq!(breaker.standing().phase, Phase::Open);
}

#[tokio::test(start_paused = true)]
async fn open_it_makes_no_call_and_reads_and_writes_stand_apart() {
    let endpoint = endpoint();
    calls(&endpoint.breakers.write, 5, QUARTER * 2, Err(out_of_reach())).await;
    let called = AtomicBool::new(false);
    let begun = Instant::now();
    let answer: Result<(), TierError> = endpoint
        .breakers
        .write
        .call(async {
            called.store(true, Relaxed);
            Ok(())
        })
        .await;
    assert!(matches!(answer, Err(TierError::Unavailable(_))), "{answer:?}");
    assert!(!called.load(Relaxed) && begun.elapsed().is_zero());
    assert!(endpoint.breakers.read.is_closed());
}

#[tokio::test(start_paused = true)]
async fn it_is_probed_at_least_once_a_second_and_closes_after_three_answers() {
    let endpoint = Arc::new(endpoint());
    let prober = {
        let endpoint = endpoint.clone();
        tokio::spawn(async move { probe(&*endpoint).await })
    };
    let breaker = &endpoint.breakers.read;
    calls(breaker, 5, QUARTER * 2, Err(out_of_reach())).await;
    // However long it is down.
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(breaker.standing().phase, Phase::Open);
    endpoint.is_up.store(true, Relaxed);
    let up = Instant::now();
    let mut phases = breaker.phases();
    phases.wait_for(|phase| *phase == Phase::HalfOpen).await.expect("it lives");
    assert!(up.elapsed() <= Duration::from_secs(1), "{:?}", up.elapsed());
    assert!(!breaker.is_closed());
    phases.wait_for(|phase| *phase == Phase::Closed).await.expect("it lives");
    assert!(up.elapsed() <= Duration::from_secs(1) + CONFIRMED_AFTER * PROBES, "{:?}", up.elapsed());
    assert_eq!(breaker.standing().calls, 0, "what was before is forgotten");
    prober.abort();
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_fails_half_open_opens_it_again() {
    let breaker = breaker();
    calls(&breaker, 5, QUARTER * 2, Err(out_of_reach())).await;
    breaker.probed(Duration::ZERO, &Ok(()));
    assert_eq!(breaker.standing().phase, Phase::HalfOpen);
    breaker.probed(TENTH * 2, &Ok(()));
    assert_eq!(breaker.standing().phase, Phase::Open, "an answer that is slow is none");
    for _ in 0..PROBES - 1 {
        breaker.probed(Duration::ZERO, &Ok(()));
    }
    assert_eq!(breaker.standing().phase, Phase::HalfOpen);
    // A server that is full refuses, and is there.
    breaker.probed(Duration::ZERO, &Err(TierError::Refused("OOM".to_owned())));
    assert_eq!(breaker.standing().phase, Phase::Closed);
}
