//! Good answers: what is written, and what is asked the next time.

use super::*;

const DATE: &str = "Wed, 11 Mar 2026 08:00:00 GMT";

#[tokio::test]
async fn an_answer_is_written_by_the_source_and_read_back() {
    let scene = Scene::with(Answer::json(r#"{"n":1}"#)).await;
    let record = written(scene.refresh().await);
    assert_eq!(record.bytes, r#"{"n":1}"#);
    assert_eq!(record.origin, crate::record::Origin::Gateway("source:feed".into()));
    assert_eq!(scene.record().await.bytes, r#"{"n":1}"#);

    let asked = scene.asked();
    assert_eq!((asked.len(), asked[0].path.as_str()), (1, "/feed"));
    assert_eq!(asked[0].header("accept"), "application/json");
    assert_eq!(asked[0].header("accept-encoding"), "identity");
    assert_eq!(asked[0].header("user-agent"), concat!("tiergate/", env!("CARGO_PKG_VERSION")));
    assert_eq!(asked[0].header("if-none-match"), "");
    let status = scene.status();
    assert_eq!((status.history.failures, status.history.bytes), (0, 7));
    assert!(status.history.last_success_at.is_some() && status.history.cost > Duration::ZERO);
}

#[tokio::test]
async fn a_named_codec_reads_the_answer_first_and_a_ttl_bounds_its_life() {
    let ttl = Some(Duration::from_secs(7));
    let change = |config| Config { codec: Some("wrapped".to_owned()), ttl, ..config };
    let scene = Scene::configured(Answer::json("[1]"), change).await;
    let before = Time::now();
    let record = written(scene.refresh().await);
    assert_eq!(record.bytes, r#"{"wrapped":[1]}"#);
    assert!(record.lifetime_end >= before.after(Duration::from_secs(7)));
    assert!(record.lifetime_end <= Time::now().after(Duration::from_secs(7)));
}

#[tokio::test]
async fn an_origin_that_says_that_nothing_changed_renews_the_last_value() {
    let scene = Scene::with(Answer::json(r#"{"n":1}"#).etag("\"v1\"").last_modified(DATE)).await;
    let first = written(scene.refresh().await);
    assert!(scene.status().is_validator_held);

    let second = unchanged(scene.refresh_now().await);
    let asked = scene.asked();
    assert_eq!(asked[1].header("if-none-match"), "\"v1\"");
    assert_eq!(asked[1].header("if-modified-since"), DATE);
    assert_eq!(second.bytes, first.bytes);
    assert!(second.lifetime_end > first.lifetime_end);
    assert_eq!(scene.record().await.lifetime_end, second.lifetime_end);

    scene.origin.answers(Answer::json(r#"{"n":2}"#).etag("\"v2\""));
    assert_eq!(written(scene.refresh_now().await).bytes, r#"{"n":2}"#);
    unchanged(scene.refresh_now().await);
    let asked = scene.asked();
    assert_eq!(asked[3].header("if-none-match"), "\"v2\"");
    assert_eq!(asked[3].header("if-modified-since"), "", "the last answer had none");
}

#[tokio::test]
async fn a_value_with_a_timestamp_of_its_own_lives_on_without_growing_younger() {
    let made = Time::now().before(Duration::from_secs(5));
    let scene = Scene::with(Answer::json(format!(r#"{{"timestamp":{}}}"#, made.micros())).last_modified(DATE)).await;
    let first = written(scene.refresh().await);
    let second = unchanged(scene.refresh_now().await);
    assert_eq!((second.version, second.produced_at), (first.version, made));
    assert_eq!(scene.record().await.lifetime_end, second.lifetime_end);
    assert!(second.lifetime_end > first.lifetime_end);
    assert_eq!(scene.asked()[1].header("if-modified-since"), DATE);
}

#[tokio::test]
async fn an_answer_without_validators_is_fetched_whole_each_time() {
    let scene = Scene::with(Answer::json("1")).await;
    written(scene.refresh().await);
    written(scene.refresh_now().await);
    let asked = scene.asked();
    assert_eq!((asked.len(), asked[1].header("if-none-match")), (2, ""));
    assert!(!scene.status().is_validator_held);
}

#[tokio::test]
async fn a_refused_answer_is_not_what_the_origin_is_asked_about_next() {
    let scene = Scene::with(Answer::json("1").etag("\"good\"")).await;
    written(scene.refresh().await);
    scene.origin.answers(Answer::json("<html>").etag("\"junk\""));
    assert_eq!(failed(scene.refresh_now().await).label(), "refused");
    scene.origin.answers(Answer::json("1").etag("\"good\""));
    assert_eq!(unchanged(scene.refresh_now().await).bytes, "1");
    let tags: Vec<_> = scene.asked().iter().map(|asked| asked.header("if-none-match").to_owned()).collect();
    assert_eq!(tags, ["", "\"good\"", "\"good\""]);
}

#[tokio::test]
async fn a_held_answer_that_the_codec_refuses_by_now_is_fetched_anew() {
    let scene = Scene::with(Answer::json("1").etag("\"v1\"")).await;
    written(scene.refresh().await);
    *scene.codec.refused.lock().expect("the refused text") = Some("1");
    assert_eq!(failed(scene.refresh_now().await).label(), "refused");
    assert!(!scene.status().is_validator_held);
    *scene.codec.refused.lock().expect("the refused text") = None;
    written(scene.refresh_now().await);
    let tags: Vec<_> = scene.asked().iter().map(|asked| asked.header("if-none-match").to_owned()).collect();
    assert_eq!(tags, ["", "\"v1\"", ""]);
}

#[tokio::test]
async fn an_answer_that_is_older_than_what_is_there_loses_and_is_no_failure() {
    let stamped = |at: Time| format!(r#"{{"timestamp":{}}}"#, at.micros());
    let now = Time::now();
    let scene = Scene::with(Answer::json(stamped(now))).await;
    written(scene.refresh().await);
    scene.origin.answers(Answer::json(stamped(now.before(MINUTE / 2))));
    written(scene.refresh_now().await);
    assert_eq!(scene.record().await.produced_at, now);
    assert_eq!(scene.status().history.failures, 0);
}

#[tokio::test]
async fn when_no_tier_takes_it_the_tiers_are_blamed_and_the_origin_is_asked_again_after_the_interval() {
    let down: Arc<dyn Tier> = Arc::new(Down(TierName::new("redis")));
    let answer = Answer::json("1").etag("\"v1\"");
    let scene = Scene::over(vec![down], answer, |config| config).await;
    let before = Time::now();
    let error = failed(scene.refresh().await);
    assert_eq!(error.to_string(), "no tier took its answer: redis: it is down");
    let status = scene.status();
    assert_eq!((status.history.failures, status.history.last_success_at), (1, None));
    assert!(status.not_before >= before.after(MINUTE - Duration::from_secs(1)), "{status:?}");
    assert_eq!(scene.record().await.bytes, "1", "memory has it");
    // The origin need not send it again.
    failed(scene.refresh_now().await);
    assert_eq!(scene.asked()[1].header("if-none-match"), "\"v1\"");
}
