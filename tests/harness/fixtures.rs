//! Payloads as real producers wrote them, and a certificate.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// When the fixtures were captured, in Unix seconds: the digits that all their timestamps begin with.
const CAPTURED: &str = "17953";

/// The bytes of a fixture, such as `legacy_writer/market:tickers.json`.
pub fn fixture(name: &str) -> Vec<u8> {
    read("fixtures", name)
}

/// The bytes of a file of real market data.
pub fn data_file(name: &str) -> Vec<u8> {
    read("data", name)
}

/// Seconds since 1970.
pub fn now_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_secs_f64()
}

/// The same bytes with every numeric timestamp moved, so that the newest of them is now.
pub fn moved_to_now(bytes: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(bytes.to_vec()).expect("a fixture of text");
    let stamps: Vec<(usize, &str)> = stamps(&text);
    let newest = stamps.iter().filter_map(|(_, stamp)| stamp.parse::<f64>().ok()).fold(0.0, f64::max);
    let shift = now_seconds() - 0.001 - newest;
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for (at, stamp) in stamps {
        out.push_str(&text[done..at]);
        let moved = stamp.parse::<f64>().expect("digits") + shift;
        if stamp.contains('.') {
            out.push_str(&format!("{moved:.6}"));
        } else {
            out.push_str(&format!("{}", moved as u64));
        }
        done = at + stamp.len();
    }
    out.push_str(&text[done..]);
    out.into_bytes()
}

fn stamps(text: &str) -> Vec<(usize, &str)> {
    let number = |c: char| c.is_ascii_digit() || c == '.';
    text.match_indices(CAPTURED)
        .filter(|(at, _)| *at == 0 || !text[..*at].ends_with(number))
        .map(|(at, _)| (at, &text[at..at + text[at..].find(|c| !number(c)).unwrap_or(text.len() - at)]))
        .filter(|(_, stamp)| stamp.split('.').next().is_some_and(|whole| whole.len() == 10))
        .collect()
}

fn read(folder: &str, name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(folder).join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A certificate for `localhost` and its key, written into `dir`.
pub fn certificate(dir: &Path) -> (PathBuf, PathBuf) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let (certificate, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).expect("written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    (certificate, key)
}
