//! The data listener over TLS.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rcgen::generate_simple_self_signed;
use tiergate_tests::{Gateway, binary, certificate, eventually};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A gateway that speaks TLS with a certificate for `localhost`, and waits so long for a greeting; and that certificate.
async fn gateway(dir: &Path, head_deadline: &str) -> (Gateway, PathBuf) {
    let (certificate, key) = certificate(dir);
    let http = format!(
        "[http]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nhead_deadline = {head_deadline:?}\n\
         tls = {{ cert = {certificate:?}, key = {key:?} }}"
    );
    (Gateway::with().config(&http).start().await, certificate)
}

/// What `curl` makes of a request over TLS: the answer with its head.
async fn curl(gateway: &Gateway, certificate: &Path, arguments: &[&str], path: &str) -> String {
    let url = format!("{}{path}", url(gateway));
    let mut command = tokio::process::Command::new("curl");
    command.args(["--silent", "--show-error", "--include", "--max-time", "20", "--cacert"]).arg(certificate);
    let output = command.args(arguments).arg(url).output().await.expect("curl runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn url(gateway: &Gateway) -> String {
    format!("https://localhost:{}", gateway.data.rsplit_once(':').expect("a port").1)
}

#[tokio::test]
async fn the_dashboard_and_the_api_are_served_over_tls_by_either_way() {
    let dir = tempfile::tempdir().unwrap();
    let (gateway, certificate) = gateway(dir.path(), "30s").await;
    let put = curl(&gateway, &certificate, &["--request", "PUT", "--data", "[1]"], "/api/cache/k").await;
    assert!(put.starts_with("HTTP/1.1 200"), "{put}");
    assert!(curl(&gateway, &certificate, &[], "/api/cache/k").await.ends_with("\r\n\r\n[1]"));
    assert!(curl(&gateway, &certificate, &[], "/mobile").await.contains("</html>"));

    // Enough that a plain connection would have it sent from a file.
    let signals: Vec<_> = (0..100)
        .map(|n| serde_json::json!({ "symbol": format!("S{n}USDT"), "confluence_score": 60, "price": 1, "change_24h": 1 }))
        .collect();
    let signals = serde_json::to_string(&signals).unwrap();
    assert!(curl(&gateway, &certificate, &["--data", &signals], "/api/signals").await.starts_with("HTTP/1.1 200"));
    eventually("all of a large view", async || {
        let plain = curl(&gateway, &certificate, &[], "/api/dashboard/mobile-data").await;
        (plain.len() > 20_000 && plain.ends_with('}')).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_command_line_speaks_tls_with_whom_it_trusts_only() {
    let dir = tempfile::tempdir().unwrap();
    let (gateway, certificate) = gateway(dir.path(), "30s").await;
    let put = |trusted: &Path| {
        let mut command = Command::new(binary());
        command.args(["cache", "put", "k", "7", "--url", &url(&gateway)]).env("SSL_CERT_FILE", trusted);
        command.output().unwrap()
    };
    let done = put(&certificate);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));

    let stranger = dir.path().join("stranger.pem");
    std::fs::write(&stranger, generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert.pem()).unwrap();
    let refused = put(&stranger);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("certificate"), "{refused:?}");
}

#[tokio::test]
async fn who_does_not_greet_is_let_go_and_others_are_served_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let (gateway, certificate) = gateway(dir.path(), "5s").await;
    let mut silent = tokio::net::TcpStream::connect(&gateway.data).await.unwrap();
    let mut plain = tokio::net::TcpStream::connect(&gateway.data).await.unwrap();
    plain.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    assert!(curl(&gateway, &certificate, &[], "/healthz").await.starts_with("HTTP/1.1 200"));
    for stream in [&mut silent, &mut plain] {
        let mut said = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut said)).await;
        ended.expect("the connection ends").unwrap();
        assert!(!said.starts_with(b"HTTP/1.1 200"), "{said:?}");
    }
}

#[tokio::test]
async fn a_certificate_that_cannot_serve_keeps_the_gateway_from_starting_and_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("tiergate.toml");
    std::fs::write(&config, "[http]\ntls = { cert = \"none.pem\", key = \"none.pem\" }").unwrap();
    for command in [&["config", "check"][..], &[]] {
        let output = Command::new(binary())
            .args(command)
            .arg("--config")
            .arg(&config)
            .env("TIERGATE_DATA_DIR", dir.path().join("data"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("http.tls.cert: none.pem: No such file"), "{said}");
    }
}
