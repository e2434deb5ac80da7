//! Every way in which an origin can fail. The last good value stays.

use hyper::header::{CONTENT_ENCODING, HeaderName, LOCATION};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

use super::*;

/// The deadline of a fetch that is meant to miss it.
const SHORT: Duration = Duration::from_secs(3);

fn hasty(config: Config) -> Config {
    Config { timeout: SHORT, ..config }
}

/// Fails with this label and these words, and the last good value stays.
async fn check(scene: &Scene, label: &str, words: &str) {
    scene.had_a_good_value().await;
    let error = failed(scene.refresh().await);
    assert_eq!(error.label(), label, "{error}");
    assert!(error.to_string().contains(words), "{error}");
    assert_eq!(scene.record().await.bytes, GOOD);
    let status = scene.status();
    assert_eq!((status.history.failures, status.history.last_success_at), (1, None));
    assert_eq!(status.history.last_error, Some(error.to_string()));
    assert!(!status.is_validator_held && !status.is_fetching);
}

async fn check_answer(answer: Answer, label: &str, words: &str) {
    let scene = Scene::with(answer).await;
    check(&scene, label, words).await;
    assert_eq!(scene.asked().len(), 1);
}

async fn check_url(url: String, label: &str, words: &str) {
    let scene =
        Scene::configured(Answer::json("1"), |config| Config { url: url.as_str().into(), ..hasty(config) }).await;
    check(&scene, label, words).await;
}

#[tokio::test]
async fn a_status_without_a_payload_is_a_failure_that_names_it() {
    let etag = |status| Answer::status(status).etag("\"v1\"");
    check_answer(etag(404), "status", "404 Not Found").await;
    check_answer(etag(500), "status", "500 Internal Server Error").await;
    check_answer(etag(503), "status", "503 Service Unavailable").await;
    check_answer(etag(418), "status", "418").await;
    check_answer(etag(206), "status", "206 Partial Content").await;
    // Nothing was held that could be unchanged.
    check_answer(Answer::status(304), "status", "304 Not Modified").await;
}

#[tokio::test]
async fn an_empty_body_is_a_failure() {
    check_answer(Answer::json("").etag("\"v1\""), "empty", "empty").await;
    check_answer(Answer::json("").chunked(), "empty", "empty").await;
    check_answer(Answer::status(204), "empty", "empty").await;
}

#[tokio::test]
async fn junk_is_refused_by_the_codec() {
    check_answer(Answer::json("<html>busy</html>").etag("\"v1\""), "refused", "not-json at $").await;
}

#[tokio::test]
async fn a_compressed_body_is_refused() {
    let answer = Answer::json("\u{1f}").header(CONTENT_ENCODING, "gzip");
    check_answer(answer, "encoded", "encoded as `gzip`").await;
    let scene = Scene::with(Answer::json("1").header(CONTENT_ENCODING, "Identity")).await;
    written(scene.refresh().await);
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_its_aim_is_told_without_the_query() {
    let to = Origin::start(Answer::json("1")).await;
    let redirect = |location: &str| Answer::status(301).header(LOCATION, location);
    let words = format!("points to {}; redirects are not followed", to.url("/moved"));
    check_answer(redirect(&to.url("/moved?key=s3cret")), "redirect", &words).await;
    assert!(to.asked().is_empty());

    let scene = Scene::with(redirect("/there?key=s3cret#s3cret")).await;
    check(&scene, "redirect", &format!("points to {};", scene.origin.url("/there"))).await;
    check_answer(redirect("//"), "redirect", "301 Moved Permanently; redirects").await;
    check_answer(Answer::status(302), "status", "302 Found").await;
}

#[tokio::test]
async fn a_body_at_the_limit_is_taken_and_one_byte_more_is_not() {
    let limited = |config| Config { bytes_max: 1_000, ..config };
    for answer in [Answer::of_size(1_000), Answer::of_size(1_000).chunked()] {
        let scene = Scene::configured(answer, limited).await;
        assert_eq!(written(scene.refresh().await).bytes.len(), 1_000);
    }
    let announced = Scene::configured(Answer::of_size(1_001), limited).await;
    check(&announced, "too_large", "its answer has 1001 bytes, more than 1000 bytes, the limit").await;
    let unannounced = Scene::configured(Answer::of_size(1_001).chunked(), limited).await;
    check(&unannounced, "too_large", "its answer has more than 1000 bytes, the limit").await;
}

#[tokio::test]
async fn a_body_that_breaks_off_is_not_taken() {
    check_answer(Answer::of_size(1_000).etag("\"v1\"").truncated(), "broken", "broke off").await;
    check_answer(Answer::of_size(1_000).etag("\"v1\"").truncated().chunked(), "broken", "broke off").await;
}

#[tokio::test]
async fn a_head_beyond_its_limit_is_not_taken() {
    let answer = Answer::json("1").header(HeaderName::from_static("x-long"), &"x".repeat(1_000_000));
    check_answer(answer, "broken", "broke off").await;
}

#[tokio::test]
async fn what_is_not_http_is_a_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        stream.write_all(b"220 smtp.example.com ESMTP\r\n").await.expect("sent");
    });
    check_url(url, "broken", "broke off").await;
    server.await.expect("it was asked");
}

#[tokio::test]
async fn a_refused_connection_and_an_unknown_name_are_failures() {
    let mut scene = Scene::with(Answer::json("1")).await;
    scene.origin.stop().await;
    check(&scene, "connect", "Connection refused").await;
    scene.origin.restart().await;
    written(scene.refresh_now().await);
    assert_eq!(scene.status().history.failures, 0);
    // A name that is reserved for being nobody's.
    let scene =
        Scene::configured(Answer::json("1"), |config| Config { url: "http://nobody.invalid".into(), ..config }).await;
    check(&scene, "connect", "no connection").await;
}

#[tokio::test]
async fn an_origin_that_takes_no_connection_costs_half_a_deadline() {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let listener = socket.listen(0).expect("it listens");
    let address = listener.local_addr().expect("its address");
    // Its queue is full when the system answers no more.
    let mut queue = Vec::new();
    while let Ok(stream) = timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
        queue.push(stream.expect("a connection"));
    }
    check_url(format!("http://{address}"), "timeout", "there was no connection within 3s").await;
}

#[tokio::test]
async fn an_origin_that_does_not_begin_or_end_its_answer_costs_one_deadline() {
    let silent = Scene::configured(Answer::json("1"), hasty).await;
    silent.origin.pause();
    let stalled = Scene::configured(Answer::of_size(1_000).stalled(), hasty).await;
    let slow = Scene::configured(Answer::of_size(1_000).slowly(Duration::from_millis(100)), hasty).await;
    // The system takes the connection, and nobody takes it from there.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("https://{}", listener.local_addr().expect("its address"));
    let handshake = check_url(url, "timeout", "no answer began within 3s");
    tokio::join!(
        check(&silent, "timeout", "no answer began within 3s"),
        check(&stalled, "timeout", "the answer did not end within 3s"),
        check(&slow, "timeout", "the answer did not end within 3s"),
        handshake,
    );
}
