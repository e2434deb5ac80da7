//! Redis behind TLS and a login, by URL alone.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tiergate_tests::{Gateway, Redis, free_port};

/// A server's certificate for 127.0.0.1, its key, and the authority that signed it, as PEM.
fn certificates() -> (String, String, String) {
    let mut authority = CertificateParams::new(Vec::new()).expect("no names");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().expect("a key")).expect("an authority");
    let key = KeyPair::generate().expect("a key");
    let server = CertificateParams::new(vec!["127.0.0.1".to_owned()])
        .expect("an address")
        .signed_by(&key, &authority)
        .expect("signed");
    (server.pem(), key.serialize_pem(), authority.pem())
}

#[tokio::test]
async fn redis_is_written_over_tls_with_a_user_and_a_password_and_neither_is_ever_shown() {
    let dir = tempfile::tempdir().unwrap();
    let (certificate, key, authority) = certificates();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (certificate, key, authority) =
        (file("cert.pem", &certificate), file("key.pem", &key), file("ca.pem", &authority));
    let port = free_port();
    let tls =
        ["--tls-port", &port.to_string(), "--tls-cert-file", &certificate, "--tls-key-file", &key].map(str::to_owned);
    let trust = ["--tls-ca-cert-file", &authority, "--tls-auth-clients", "no"].map(str::to_owned);
    let login = ["--user", "gate", "on", ">hunter2", "~*", "&*", "+@all"].map(str::to_owned);
    let _redis = Redis::with().args(tls.into_iter().chain(trust).chain(login)).start().await;

    let url = format!("rediss://gate:hunter2@127.0.0.1:{port}/0");
    let gateway = Gateway::with().tier(&url).env("SSL_CERT_FILE", &authority).start().await;
    let reply = gateway.put("k", "1").await;
    assert_eq!((reply.status.as_u16(), reply.outcome("redis").as_str()), (200, "stored"), "{}", reply.text());

    let wrong = Gateway::with().tier(url.replace("hunter2", "hunter3")).env("SSL_CERT_FILE", &authority).start().await;
    let reply = wrong.put("k", "2").await;
    assert_eq!((reply.status.as_u16(), reply.outcome("redis").as_str()), (202, "queued"), "{}", reply.text());

    // An authority that nobody vouches for.
    let stranger = Gateway::with().tier(&url).start().await;
    let reply = stranger.put("k", "3").await;
    assert_eq!((reply.status.as_u16(), reply.outcome("redis").as_str()), (202, "queued"), "{}", reply.text());
    for gateway in [&gateway, &wrong, &stranger] {
        let said = format!("{}{}", gateway.log().join("\n"), gateway.admin_get("/api/admin/tiers").await.text());
        assert!(!said.contains("hunter"), "{said}");
    }
}
