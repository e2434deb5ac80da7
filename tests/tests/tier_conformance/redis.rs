//! Redis alone.

use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::streams::StreamRangeReply;
use bytes::Bytes;
use tiergate::record::{DeleteOutcome, Kind, TierName, WriteOutcome};
use tiergate::tier::{Tier as _, TierError, redis};
use tiergate_tests::{Redis, eventually};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use crate::bench::{Bench, Judge, Under, bytes_of, key, placeholder, real, redis_tier, stamp_of};

#[tokio::test]
async fn redis_knows_what_a_neighbour_noted() {
    let bench = Bench::redis().await;
    let ranked = real(10).rank(5, Duration::from_secs(60));
    assert_eq!(bench.neighbour().put(&key("k"), &ranked.build()).await, WriteOutcome::Stored);
    assert_eq!(stamp_of(bench.read("k").await), Some((Kind::Real, 5, 10)));
    assert_eq!(bench.put("k", real(11)).await, WriteOutcome::Superseded, "the neighbour's rank counts here, too");
}

#[tokio::test]
async fn what_was_deleted_and_is_set_again_by_another_program_has_no_note() {
    let bench = Bench::redis().await;
    assert_eq!(bench.put("k", real(10)).await, WriteOutcome::Stored);
    assert_eq!(bench.delete("k", 11).await, DeleteOutcome::Deleted);
    bench.stranger().await.set("k", &real(10).bytes(), 0).await;
    assert_eq!(stamp_of(bench.read("k").await), None);
    assert_eq!(bench.found("k").await, Some(real(10).bytes()), "it is a value all the same");
}

#[tokio::test]
async fn a_write_that_a_delete_kept_out_is_announced_as_that() {
    let bench = Bench::redis().await;
    assert_eq!(bench.put("k", real(10)).await, WriteOutcome::Stored);
    assert_eq!(bench.delete("k", 11).await, DeleteOutcome::Deleted);
    assert_eq!(bench.neighbour().put(&key("k"), &real(11).build()).await, WriteOutcome::Superseded);
    let mut range = ::redis::cmd("XRANGE");
    range.arg("tiergate:changes").arg("-").arg("+");
    let changes: StreamRangeReply = range.query_async(&mut connect(&bench).await).await.unwrap();
    let told: Vec<(bool, bool)> = changes
        .ids
        .iter()
        .filter(|entry| entry.contains_key("k"))
        .map(|entry| (entry.contains_key("sha1"), entry.contains_key("barred")))
        .collect();
    assert_eq!(told, [(true, false), (false, false), (true, true)], "stored, deleted, kept out");
}

#[tokio::test]
async fn the_note_outlives_the_value_as_its_floor() {
    let bench = Bench::redis().await;
    let short = Duration::from_secs(1);
    assert_eq!(bench.put("real", real(10).life(short)).await, WriteOutcome::Stored);
    assert_eq!(bench.put("stub", placeholder(10).life(short)).await, WriteOutcome::Stored);
    eventually("both end", async || (bench.found("real").await.or(bench.found("stub").await)).is_none().then_some(()))
        .await;
    assert_eq!(bench.put("real", real(9)).await, WriteOutcome::Superseded);
    assert_eq!(bench.put("real", real(10)).await, WriteOutcome::Stored, "the same may come back");
    assert_eq!(bench.put("stub", real(9)).await, WriteOutcome::Stored, "a placeholder is no floor for real data");
}

#[tokio::test]
async fn a_full_redis_fails_writes_in_its_own_words_and_goes_on_reading() {
    let bench = Bench::redis().await;
    assert_eq!(bench.put("k", real(1)).await, WriteOutcome::Stored);
    config_set(&bench, "maxmemory", "1").await;
    let outcome = bench.put("k", real(2)).await;
    assert!(matches!(&outcome, WriteOutcome::Failed(why) if why.contains("OOM")), "{outcome:?}");
    bench.assert_holds("k", real(1)).await;
    config_set(&bench, "maxmemory", "0").await;
    assert_eq!(bench.put("k", real(2)).await, WriteOutcome::Stored);
}

#[tokio::test]
async fn a_replica_refuses_writes_and_keeps_its_value() {
    let nobody = Redis::start().await;
    let server = Redis::with().args(["--replicaof", "127.0.0.1", &nobody.port().to_string()]).start().await;
    let bench = Bench::on_redis(server);
    let outcome = bench.put("k", real(1)).await;
    assert!(matches!(&outcome, WriteOutcome::Failed(why) if why.contains("READONLY")), "{outcome:?}");
}

#[tokio::test]
async fn a_password_is_used_and_never_told() {
    let server = Redis::with().args(["--requirepass", "sesame"]).start().await;
    for (credentials, answer) in [(":sesame@", None), (":wrong-one@", Some("WRONGPASS")), ("", Some("NOAUTH"))] {
        let tier = redis_tier(format!("redis://{credentials}{}/3", server.address()), &Arc::default());
        assert_eq!(tier.summary(), format!("redis at {}, database 3", server.address()));
        let outcome = tier.put(&key("k"), &real(1).build()).await;
        let read = tier.read(&[key("k")]).await;
        let Some(words) = answer else {
            assert_eq!(outcome, WriteOutcome::Stored);
            assert!(read.is_ok());
            continue;
        };
        let told = format!("{outcome:?} {read:?}");
        assert!(matches!(outcome, WriteOutcome::Failed(_)) && matches!(read, Err(TierError::Refused(_))), "{told}");
        assert!(told.contains(words) || told.contains("uthentication"), "{told}");
        assert!(!told.contains("wrong-one"), "{told}");
    }
    let config = redis::Config::at("redis://:sesame@127.0.0.1:1");
    assert!(!format!("{config:?}").contains("sesame"));
    let wrong = redis::Config::at("nonsense://:sesame@127.0.0.1:1");
    let Err(error) = tiergate::tier::Redis::new(TierName::new("redis"), wrong, Arc::new(Judge::default())) else {
        panic!("nonsense was taken for a URL");
    };
    assert!(!error.to_string().contains("sesame"), "{error}");
}

#[tokio::test]
async fn a_tls_url_speaks_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("rediss://{}/", listener.local_addr().unwrap());
    let overheard = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut begin = [0; 2];
        client.read_exact(&mut begin).await.unwrap();
        begin
    });
    // Certificates to trust are loaded while it connects.
    let patient = Duration::from_secs(30);
    let config = redis::Config { deadline: patient, ..redis::Config::at(url) };
    let tier = tiergate::tier::Redis::new(TierName::new("redis"), config, Arc::new(Judge::default())).unwrap();
    assert!(tier.summary().ends_with("over TLS"), "{}", tier.summary());
    let outcome = tier.put(&key("k"), &real(1).build()).await;
    assert!(matches!(&outcome, WriteOutcome::Failed(why) if why.contains("cannot connect")), "{outcome:?}");
    // RFC 8446, section 5.1: a handshake is content type 22, and its record says version 3.x.
    assert_eq!(overheard.await.unwrap(), [22, 3], "nothing is sent in the clear");
}

#[tokio::test]
async fn a_key_that_holds_no_string_spoils_no_other() {
    let bench = Bench::redis().await;
    assert_eq!(bench.put("k", real(1)).await, WriteOutcome::Stored);
    let mut command = ::redis::cmd("RPUSH");
    command.arg("list").arg("x");
    redis_command(&bench, command).await;
    let mut found = bench.tier.read(&[key("list"), key("k")]).await.unwrap();
    assert_eq!(bytes_of(found.pop().unwrap()), Some(real(1).bytes()));
    assert_eq!(bytes_of(found.pop().unwrap()), Some(Bytes::new()), "no codec accepts it");
    let outcome = bench.put("list", real(1)).await;
    assert!(matches!(&outcome, WriteOutcome::Failed(why) if why.contains("WRONGTYPE")), "{outcome:?}");
}

#[tokio::test]
async fn scripts_that_the_server_forgot_are_sent_again() {
    let bench = Bench::redis().await;
    assert_eq!(bench.put("k", real(1)).await, WriteOutcome::Stored);
    let mut command = ::redis::cmd("SCRIPT");
    command.arg("FLUSH");
    redis_command(&bench, command).await;
    assert_eq!(bench.put("k", real(2)).await, WriteOutcome::Stored);
}

async fn config_set(bench: &Bench, name: &str, value: &str) {
    let mut command = ::redis::cmd("CONFIG");
    command.arg("SET").arg(name).arg(value);
    redis_command(bench, command).await;
}

async fn redis_command(bench: &Bench, command: ::redis::Cmd) {
    command.exec_async(&mut connect(bench).await).await.unwrap();
}

async fn connect(bench: &Bench) -> MultiplexedConnection {
    let Under::Redis(server) = &bench.under else { unreachable!("Redis alone") };
    let client = ::redis::Client::open(server.url()).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}
