//! memcached alone.

use std::sync::Arc;
use std::time::Duration;

use tiergate::record::WriteOutcome;
use tiergate_tests::{Memcached, PlainMemcached};

use crate::bench::{Bench, Under, key, memcached_tier, real};

#[tokio::test]
async fn unchanged_values_are_not_read_again() {
    let bench = Bench::memcached().await;
    let rec = real(1).padding(200_000);
    assert_eq!(bench.put("k", rec).await, WriteOutcome::Stored);
    bench.assert_holds("k", rec).await;
    let before = bytes_written(&bench).await;
    for _ in 0..20 {
        bench.assert_holds("k", rec).await;
    }
    let sent = bytes_written(&bench).await - before;
    assert!(sent < 50_000, "20 looks at an unchanged value cost {sent} bytes");
}

/// memcached counts cas ids from 1 again after a restart: the same id may then stand for another value.
#[tokio::test]
async fn a_restarted_memcached_is_not_taken_for_the_old_one() {
    let mut bench = Bench::memcached().await;
    bench.stranger().await.set("k", &real(1).bytes(), 0).await;
    bench.assert_holds("k", real(1)).await;
    bench.restart().await;
    bench.stranger().await.set("k", &real(2).bytes(), 0).await;
    bench.assert_holds("k", real(2)).await;
}

#[tokio::test]
async fn a_lease_of_0_bytes_is_a_miss_and_is_written_over() {
    let bench = Bench::memcached().await;
    bench.stranger().await.set("k", b"", 0).await;
    assert_eq!(bench.found("k").await, None);
    assert_eq!(bench.put("k", real(1)).await, WriteOutcome::Stored);
    bench.assert_holds("k", real(1)).await;
}

#[tokio::test]
async fn the_item_limit_is_the_servers_own() {
    let bench = Bench::on_memcached(Memcached::with().args(["-I", "10m"]).start().await);
    let large = real(1).padding(5 << 20);
    assert_eq!(bench.put("k", large).await, WriteOutcome::Stored);
    bench.assert_holds("k", large).await;
    assert_eq!(bench.tier.check().await.unwrap().item_bytes_max, Some(10 << 20));
}

/// B1: `localhost` may mean `::1` first, and this server listens on IPv4 only.
#[tokio::test]
async fn a_host_name_is_tried_on_ipv4_first() {
    let server = Memcached::start().await;
    let tier = memcached_tier(format!("localhost:{}", server.port()), &Arc::default());
    assert_eq!(tier.put(&key("k"), &real(1).build()).await, WriteOutcome::Stored);
}

#[tokio::test]
async fn a_lease_is_prolonged_and_given_back_by_its_owner_alone() {
    let bench = Bench::memcached().await;
    let leases = bench.tier.leases().expect("memcached has leases");
    let lease = async |seconds| leases.lease("work", Duration::from_secs(seconds)).await.unwrap();
    let (mut stranger, name) = (plain(&bench).await, "tiergate:lease:work");
    assert!(lease(10).await);
    assert!(stranger.ttl(name).await.is_some_and(|left| left <= 10));
    assert!(lease(100).await, "prolonged");
    assert!(stranger.ttl(name).await.is_some_and(|left| left > 10));

    // Its time was over, and another gateway took it.
    stranger.set(name, b"another", 0, 100).await;
    assert!(!lease(10).await);
    leases.release("work").await.unwrap();
    assert_eq!(stranger.get(name).await, Some((0, b"another".to_vec())));
    stranger.delete(name).await;
    assert!(lease(10).await);
    leases.release("work").await.unwrap();
    assert_eq!(stranger.get(name).await, None);
}

async fn plain(bench: &Bench) -> PlainMemcached {
    let Under::Memcached(server) = &bench.under else { unreachable!("memcached alone") };
    PlainMemcached::connect(server.port()).await
}

async fn bytes_written(bench: &Bench) -> u64 {
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
    let Under::Memcached(server) = &bench.under else { unreachable!("memcached alone") };
    let mut stream = tokio::net::TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(b"stats\r\n").await.unwrap();
    let mut lines = BufReader::new(stream).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        if let Some(bytes) = line.strip_prefix("STAT bytes_written ") {
            return bytes.parse().unwrap();
        }
    }
    panic!("no bytes_written in the statistics");
}
