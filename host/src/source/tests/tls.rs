//! HTTPS: whom it trusts, and what it says otherwise.

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::*;

/// Speaks TLS in front of `origin`, as `localhost`. Its port, and its certificate.
async fn front(origin: &Origin) -> (u16, CertificateDer<'static>) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).expect("a key");
    let config = ServerConfig::builder_with_provider(default_provider().into())
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(vec![cert.der().clone()], key))
        .expect("TLS");
    let (acceptor, to) = (TlsAcceptor::from(Arc::new(config)), origin.address());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("its address").port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            // A client that does not trust the certificate goes away.
            let Ok(mut client) = acceptor.accept(stream).await else { continue };
            tokio::spawn(async move {
                let mut server = TcpStream::connect(to).await.expect("the origin");
                copy_bidirectional(&mut client, &mut server).await.ok();
            });
        }
    });
    (port, cert.der().clone())
}

/// A source at `url` that trusts `trusted` only.
fn trusting(url: String, trusted: &CertificateDer<'static>) -> Sources {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).expect("a root");
    let config = Config { url: url.as_str().into(), ..config("feed", "k") };
    let made = Sources::trusting(vec![config], cache(Arc::default(), Vec::new()), || fetch::tls(roots.clone()));
    made.unwrap_or_else(|mistakes| panic!("{mistakes:?}"))
}

async fn check_refused(sources: &Sources, words: &str) {
    let error = failed(sources.refresh(&key()).await);
    assert_eq!(error.label(), "tls", "{error}");
    assert!(error.to_string().contains(words), "{error}");
}

#[tokio::test]
async fn a_trusted_origin_is_fetched_over_tls() {
    let origin = Origin::start(Answer::json("1").etag("\"v1\"")).await;
    let (port, certificate) = front(&origin).await;
    let sources = trusting(format!("https://localhost:{port}/feed"), &certificate);
    assert_eq!(written(sources.refresh(&key()).await).bytes, "1");
    make_due(&sources, &key());
    unchanged(sources.refresh(&key()).await);
    assert_eq!(origin.asked()[1].header("host"), format!("localhost:{port}"));
}

#[tokio::test]
async fn an_origin_whose_certificate_is_wrong_is_not_asked_anything() {
    let origin = Origin::start(Answer::json("1")).await;
    let (port, certificate) = front(&origin).await;
    let (_, stranger) = front(&origin).await;
    let untrusted = trusting(format!("https://localhost:{port}"), &stranger);
    check_refused(&untrusted, "invalid peer certificate").await;
    let elsewhere = trusting(format!("https://127.0.0.1:{port}"), &certificate);
    check_refused(&elsewhere, "not valid for name \"127.0.0.1\"").await;
    let plain = trusting(origin.url("").replace("http:", "https:"), &certificate);
    check_refused(&plain, "corrupt message").await;
    assert!(origin.asked().is_empty());
}

#[tokio::test]
async fn without_roots_every_https_source_is_a_mistake_and_http_goes_on() {
    let https = Config { url: "https://example.com".into(), ..config("b", "b") };
    let none = || Err("no certificates to trust".to_owned());
    let cache = cache(Arc::default(), Vec::new());
    let mistakes = Sources::trusting(vec![config("a", "a"), https], cache.clone(), none).err().expect("a mistake");
    assert_eq!((mistakes.len(), mistakes[0].index, mistakes[0].field.as_str()), (1, 1, "url"));
    assert!(Sources::trusting(vec![config("a", "a")], cache, none).is_ok());
}
