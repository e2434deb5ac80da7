//! What must not be told, and what must.

use std::io::{self, Write};

use tracing::subscriber::DefaultGuard;

use super::*;

const SECRET: &str = "s3cret";

/// The log of this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn start(&self) -> DefaultGuard {
        let log = self.clone();
        let lines = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false);
        tracing::subscriber::set_default(lines.with_writer(move || log.clone()).finish())
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("the log")).into_owned()
    }

    /// How many lines hold all of `words`.
    fn count(&self, words: &[&str]) -> usize {
        self.text().lines().filter(|line| words.iter().all(|word| line.contains(word))).count()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("the log").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A source that sends the secret in its query and in a header.
fn with_secrets(origin: &Origin) -> Config {
    let headers = vec![("X-Api-Key".to_owned(), Hidden::from(SECRET)), ("User-Agent".to_owned(), Hidden::from("mine"))];
    Config { url: origin.url("/feed?key=s3cret").as_str().into(), headers, ..config("feed", "k") }
}

#[tokio::test]
async fn secrets_are_sent_and_never_told() {
    let log = Log::default();
    let _guard = log.start();
    let mut scene = Scene::with(Answer::json("1")).await;
    let config = with_secrets(&scene.origin);
    let mut told = format!("{config:?}");
    scene.sources = sources(vec![config], &scene.cache);
    written(scene.refresh_now().await);
    for answer in [
        Answer::status(500),
        Answer::status(429),
        Answer::status(302).header(hyper::header::LOCATION, "/elsewhere?key=s3cret"),
        Answer::json("<html>"),
        Answer::of_size(100).truncated(),
    ] {
        scene.origin.answers(answer);
        let error = failed(scene.refresh_now().await);
        told += &format!("{error} {error:?}");
    }
    scene.origin.stop().await;
    let error = failed(scene.refresh_now().await);
    told += &format!("{error} {error:?}");
    told += &serde_json::to_string(&scene.sources.status()).expect("JSON");
    told += &log.text();

    for asked in scene.asked() {
        assert_eq!((asked.header("x-api-key"), asked.header("user-agent")), (SECRET, "mine"));
        assert_eq!(asked.path, "/feed?key=s3cret");
    }
    assert!(log.text().contains("a source fails"), "{}", log.text());
    assert!(!told.contains(SECRET), "{told}");
}

#[tokio::test]
async fn the_log_tells_when_a_source_begins_to_fail_otherwise_and_when_it_answers_again() {
    let log = Log::default();
    let _guard = log.start();
    let scene = Scene::with(Answer::status(500)).await;
    for _ in 0..3 {
        failed(scene.refresh_now().await);
    }
    assert_eq!(log.count(&["WARN", "a source fails", "source=feed", "500"]), 1, "{}", log.text());
    scene.origin.answers(Answer::json(""));
    failed(scene.refresh_now().await);
    assert_eq!(log.count(&["WARN", "a source fails"]), 2, "{}", log.text());
    scene.origin.answers(Answer::json("1"));
    for _ in 0..2 {
        written(scene.refresh_now().await);
    }
    assert_eq!(log.count(&["INFO", "a source answers again", "failures=4"]), 1, "{}", log.text());
}

#[tokio::test]
async fn an_operator_sees_the_history_of_a_source() {
    let scene = Scene::with(Answer::json("1").etag("\"v1\"")).await;
    written(scene.refresh().await);
    scene.origin.answers(Answer::status(404));
    failed(scene.refresh_now().await);
    let status = serde_json::to_value(scene.sources.status()).expect("JSON");
    let source = &status[0];
    assert_eq!(source["name"], "feed");
    assert_eq!(source["key"], "k");
    assert_eq!(source["url"], scene.origin.url("/feed"));
    assert_eq!(source["interval_seconds"], 60.0);
    assert_eq!(source["last_error"], "it answered 404 Not Found");
    assert_eq!((source["failures"].as_u64(), source["bytes"].as_u64()), (Some(1), Some(1)));
    assert_eq!(source["is_validator_held"], true);
    assert!(source["cost_seconds"].as_f64().is_some_and(|cost| cost > 0.0));
    let at = |field: &str| source[field].as_u64().expect("a moment");
    assert!(at("last_success_at") < at("last_attempt_at") && at("last_attempt_at") <= at("last_failure_at"));
    assert!(at("not_before") > at("last_failure_at"));
}
