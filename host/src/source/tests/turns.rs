//! When an origin is asked, and by whom: one flight, the interval, the back-off, and what the origin asks for.

use std::time::SystemTime;

use tokio::task::JoinSet;

use super::*;

/// What the clocks may differ by, a moment be rounded to seconds by, and a test be held up for.
const SLACK: Duration = Duration::from_secs(20);

/// Two sources of one origin, and one of another.
async fn three(answer: Answer) -> ([Origin; 2], Arc<Sources>) {
    let origins = [Origin::start(answer).await, Origin::start(Answer::json("3")).await];
    let at = |name: &str, url: String| Config { url: url.as_str().into(), ..config(name, name) };
    let configs = vec![at("a", origins[0].url("/a")), at("b", origins[0].url("/b")), at("c", origins[1].url("/c"))];
    (origins, Arc::new(sources(configs, &cache(Arc::default(), Vec::new()))))
}

fn named(name: &str) -> Key {
    Key::new(name).expect("a key")
}

#[track_caller]
fn about(found: Time, expected: Time) {
    assert!(found >= expected.before(SLACK) && found <= expected.after(SLACK), "{found:?} is not about {expected:?}");
}

#[tokio::test]
async fn b21_twenty_who_ask_at_once_cost_one_request() {
    let Scene { origin, sources, .. } = Scene::with(Answer::json("1")).await;
    let sources = Arc::new(sources);
    origin.pause();
    let mut crowd = JoinSet::new();
    for _ in 0..20 {
        let sources = sources.clone();
        crowd.spawn(async move { sources.refresh(&key()).await });
    }
    while origin.asked().is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(sources.status()[0].is_fetching);
    origin.resume();
    for refreshed in crowd.join_all().await {
        assert_eq!(written(refreshed).bytes, "1");
    }
    assert_eq!(origin.asked().len(), 1);
    assert!(!sources.status()[0].is_fetching);
}

#[tokio::test]
async fn who_goes_away_does_not_stop_the_fetch() {
    let scene = Scene::with(Answer::json("1")).await;
    scene.origin.pause();
    tokio::select! {
        biased;
        refreshed = scene.refresh() => panic!("{refreshed:?}"),
        () = scene.until_asked(1) => {}
    }
    scene.origin.resume();
    written(scene.refresh().await);
    assert_eq!(scene.record().await.bytes, "1");
    assert_eq!(scene.asked().len(), 1);
}

#[tokio::test]
async fn what_was_written_or_deleted_during_a_load_is_newer_than_its_answer() {
    let scene = Scene::with(Answer::json("1")).await;
    for deletes in [false, true] {
        scene.origin.pause();
        make_due(&scene.sources, &key());
        let asked = scene.asked().len();
        let overtake = async {
            scene.until_asked(asked + 1).await;
            scene.had_a_good_value().await;
            if deletes {
                let deleted = scene.cache.delete(&key()).await.expect("carried through");
                assert_eq!(deleted.outcomes[0].1, DeleteOutcome::Deleted);
            }
            scene.origin.resume();
        };
        let (refreshed, ()) = tokio::join!(scene.refresh(), overtake);
        assert!(matches!(&refreshed, Refreshed::Written(put) if put.is_overtaken()), "{refreshed:?}");
        let held = scene.cache.peek(&key()).map(|record| record.bytes.clone());
        assert_eq!(held, (!deletes).then(|| GOOD.into()));
    }
}

#[tokio::test]
async fn within_the_interval_nothing_is_asked() {
    let scene = Scene::with(Answer::json("1")).await;
    written(scene.refresh().await);
    let begun = scene.status().history.last_success_at.expect("a success");
    about(not_yet(scene.refresh().await), begun.after(MINUTE));
    let state = scene.sources.of(&key()).expect("a source");
    assert_eq!((&*state.name, state.interval), ("feed", MINUTE));
    assert!(state.cost > Duration::ZERO);
    about(state.not_before, begun.after(MINUTE));
    assert_eq!(scene.asked().len(), 1);
    written(scene.refresh_now().await);
}

#[tokio::test]
async fn b24_a_failure_is_remembered_and_nothing_is_asked_until_it_is_waited_out() {
    let scene = Scene::with(Answer::status(500)).await;
    let begun = Time::now();
    failed(scene.refresh().await);
    let until = scene.sources.of(&key()).expect("a source").not_before;
    let (least, most) = (Duration::from_secs(1), Duration::from_secs(2));
    assert!(until >= begun.after(least) && until <= Time::now().after(most), "{until:?}");
    assert_eq!(scene.asked().len(), 1);
    for _ in 0..5 {
        failed(scene.refresh_now().await);
    }
    let until = not_yet(scene.refresh().await);
    assert!(until >= Time::now().after(Duration::from_secs(16)), "{until:?}");
    assert_eq!((scene.asked().len(), scene.status().history.failures), (6, 6));
    scene.origin.answers(Answer::json("1"));
    written(scene.refresh_now().await);
    assert_eq!(scene.status().history.failures, 0);
    assert!(scene.status().history.last_error.is_some(), "what was is still told");
}

#[tokio::test]
async fn retry_after_is_obeyed_in_seconds_and_as_a_date() {
    let span = Duration::from_secs(120);
    let date = httpdate::fmt_http_date(SystemTime::now() + span);
    for answer in [
        Answer::status(429).retry_after("120"),
        Answer::status(429).retry_after(&date),
        Answer::status(503).retry_after("120"),
        Answer::status(503).retry_after(&date),
        Answer::status(301).header(hyper::header::LOCATION, "/moved").retry_after("120"),
    ] {
        let scene = Scene::with(answer).await;
        let error = failed(scene.refresh().await);
        about(Time::now().after(error.retry_after().expect("it was asked for")), Time::now().after(span));
        about(not_yet(scene.refresh().await), Time::now().after(span));
        assert_eq!(scene.asked().len(), 1);
    }
    let scene = Scene::with(Answer::status(429).retry_after("100000000")).await;
    failed(scene.refresh().await);
    about(not_yet(scene.refresh().await), Time::now().after(Duration::from_secs(24 * 3600)));
}

#[tokio::test]
async fn b22_too_many_requests_of_one_source_hold_back_all_of_its_origin() {
    let ([busy, other], sources) = three(Answer::status(429).retry_after("120")).await;
    failed(sources.refresh(&named("a")).await);
    about(not_yet(sources.refresh(&named("b")).await), Time::now().after(Duration::from_secs(120)));
    about(sources.of(&named("b")).expect("a source").not_before, Time::now().after(Duration::from_secs(120)));
    written(sources.refresh(&named("c")).await);
    assert_eq!((busy.asked().len(), other.asked().len()), (1, 1));
    assert_eq!(sources.status()[1].history.failures, 0);
}

#[tokio::test]
async fn a_source_that_is_out_of_service_does_not_hold_back_the_others() {
    let ([origin, _], sources) = three(Answer::status(503).retry_after("120")).await;
    failed(sources.refresh(&named("a")).await);
    origin.answers_at("/b", Answer::json("2"));
    written(sources.refresh(&named("b")).await);
}

#[tokio::test]
async fn sources_of_one_origin_that_are_due_together_are_all_served() {
    let ([origin, _], sources) = three(Answer::json("1")).await;
    let (a, b) = (named("a"), named("b"));
    let (first, second) = tokio::join!(sources.refresh(&a), sources.refresh(&b));
    written(first);
    written(second);
    assert_eq!(origin.asked().len(), 2);
}

#[tokio::test]
async fn b22_a_source_that_gets_no_turn_at_its_origin_is_not_asked_and_has_not_failed() {
    let hasty = |config| Config { timeout: Duration::from_millis(1), ..config };
    let scene = Scene::configured(Answer::json("1"), hasty).await;
    // Somebody else has the turn.
    scene.sources.all[0].origin.turn(MINUTE).await.expect("a turn");
    about(not_yet(scene.refresh().await), Time::now());
    assert!(scene.asked().is_empty());
    let status = scene.status();
    assert_eq!((status.history.failures, status.history.last_attempt_at), (0, None));
    assert!(!status.is_fetching);
    about(status.not_before, Time::now());
}

#[tokio::test]
async fn a_key_without_a_source_has_none() {
    let scene = Scene::with(Answer::json("1")).await;
    assert!(matches!(scene.sources.refresh(&named("other")).await, Refreshed::NoSource));
    assert_eq!(scene.sources.of(&named("other")), None);
    assert_eq!(scene.sources.keys().collect::<Vec<_>>(), [&key()]);
}

#[tokio::test]
async fn b60_a_source_that_leads_to_this_gateway_is_named() {
    let ([origin, _], sources) = three(Answer::json("1")).await;
    let mistakes = sources.check_not_self(&[origin.address()]);
    let places: Vec<_> = mistakes.iter().map(|mistake| (mistake.index, mistake.field.as_str())).collect();
    assert_eq!(places, [(0, "url"), (1, "url")]);
    let expected = format!("it leads to this gateway itself, which listens on {}", origin.address());
    assert_eq!(mistakes[0].message, expected);
}
