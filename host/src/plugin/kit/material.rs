//! What is thrown at a plugin: payloads of real producers, damaged copies of them, and inputs that somebody made up to hurt.

use std::ops::Range;

use fastrand::Rng;
use include_dir::{Dir, include_dir};

/// Folders of captured payloads, one file each, whose name is its key.
static FOLDERS: [Dir<'_>; 5] = [
    include_dir!("$CARGO_MANIFEST_DIR/../tests/fixtures/aggregator"),
    include_dir!("$CARGO_MANIFEST_DIR/../tests/fixtures/bridge"),
    include_dir!("$CARGO_MANIFEST_DIR/../tests/fixtures/edge"),
    include_dir!("$CARGO_MANIFEST_DIR/../tests/fixtures/legacy_writer"),
    include_dir!("$CARGO_MANIFEST_DIR/../tests/fixtures/warmer"),
];

/// The signals of a market, as a producer wrote them.
const SIGNALS: (&str, &[u8]) =
    ("analysis:signals.json", include_bytes!("../../../../tests/fixtures/analysis:signals.json"));

const OTHERS: [(&str, &[u8]); 3] = [
    ("market:breadth.json", include_bytes!("../../../../tests/fixtures/market:breadth.json")),
    ("market:movers.json", include_bytes!("../../../../tests/fixtures/market:movers.json")),
    ("market:overview.json", include_bytes!("../../../../tests/fixtures/market:overview.json")),
];

/// The longest text in an input.
const TEXT_BYTES: usize = 1 << 20;

/// memcached's client flag for a Python pickle.
const PICKLE: u32 = 1;

/// A captured payload.
#[derive(Clone, Debug)]
pub(super) struct Captured {
    pub(super) name: String,
    pub(super) key: String,
    pub(super) flags: u32,
    pub(super) bytes: &'static [u8],
}

/// Every captured payload.
pub(super) fn captured() -> Vec<Captured> {
    let mut files: Vec<(String, &'static [u8])> =
        [SIGNALS].into_iter().chain(OTHERS).map(|(name, bytes)| (name.to_owned(), bytes)).collect();
    FOLDERS.iter().for_each(|folder| walk(folder, &mut files));
    files.into_iter().filter_map(|(name, bytes)| Captured::new(name, bytes)).collect()
}

fn walk(folder: &'static Dir<'_>, files: &mut Vec<(String, &'static [u8])>) {
    files.extend(folder.files().map(|file| (file.path().display().to_string(), file.contents())));
    folder.dirs().for_each(|folder| walk(folder, files));
}

// === impl Captured ===

impl Captured {
    /// `None` for what is no payload: lists of a folder's contents, notes.
    fn new(name: String, bytes: &'static [u8]) -> Option<Self> {
        let file = name.rsplit('/').next()?;
        if file == "index.json" || file.ends_with(".meta.json") {
            return None;
        }
        let key = file.strip_suffix(".json").or_else(|| file.strip_suffix(".bin"))?;
        let pickled = key.strip_suffix(".pickled");
        let key = pickled.or_else(|| key.strip_suffix(".nan")).unwrap_or(key).to_owned();
        Some(Self { key, flags: if pickled.is_some() { PICKLE } else { 0 }, bytes, name })
    }
}

/// Signals of a real producer, one JSON object each.
pub(super) fn signals() -> Vec<Vec<u8>> {
    let document: serde_json::Value = serde_json::from_slice(SIGNALS.1).unwrap_or_default();
    let signals = document["signals"].as_array().map(Vec::as_slice).unwrap_or_default();
    signals.iter().map(|signal| signal.to_string().into_bytes()).collect()
}

/// A copy that was damaged on its way.
pub(super) fn damaged(rng: &mut Rng, bytes: &[u8]) -> Vec<u8> {
    let mut copy = bytes.to_vec();
    for _ in 0..rng.usize(1..4) {
        let part = range(rng, copy.len());
        match rng.u8(0..6) {
            0 => copy.truncate(part.start),
            1 => part.take(8).for_each(|at| copy[at] ^= 1 << rng.u8(0..8)),
            2 => drop(copy.drain(part)),
            3 => copy.extend_from_within(part),
            4 => {
                drop(copy.splice(part.start..part.start, (0..rng.usize(1..9)).map(|_| rng.u8(..)).collect::<Vec<_>>()))
            }
            _ => drop(copy.splice(part, SCRAPS[rng.usize(..SCRAPS.len())].iter().copied())),
        }
    }
    copy
}

/// What a part of a document is replaced by.
const SCRAPS: [&[u8]; 12] = [
    b"null",
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"-0",
    b"\"\"",
    b"[[[]]]",
    b"{\"a\":{}}",
    b"\\u0000",
    b"\xc3\x28",
    b"99999999999999999999999999999999",
    b",",
];

fn range(rng: &mut Rng, len: usize) -> Range<usize> {
    let start = rng.usize(0..=len);
    start..rng.usize(start..=len.min(start + 40))
}

/// Payloads that somebody made up to hurt, each with a name.
pub(super) fn hostile() -> Vec<(&'static str, Vec<u8>)> {
    let text = |text: &str| text.as_bytes().to_vec();
    vec![
        ("empty", text("")),
        ("spaces", text(" \n\t ")),
        ("null", text("null")),
        ("zero-bytes", vec![0; 64]),
        ("nan", text("NaN")),
        ("infinity-in-list", text("[Infinity, -Infinity, nan]")),
        ("invalid-utf8", b"{\"a\": \"\xff\xfe\"}".to_vec()),
        ("cut-utf8", b"{\"a\": \"\xe2\x82".to_vec()),
        ("byte-order-mark", text("\u{feff}{\"a\": 1}")),
        ("utf16", "{\"a\": 1}".encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("lone-surrogate", text(r#"{"a": "\ud800", "b": "\udc00\ud800"}"#)),
        ("escapes", text(r#"{"\u0000": "\u0000\u001f\u2028", "\\": "\""}"#)),
        (
            "prototype",
            text(r#"{"__proto__": {"a": 1}, "constructor": 1, "toString": 2, "__class__": 3, "symbol": "__proto__"}"#),
        ),
        ("duplicate-keys", text(r#"{"a": 1, "a": 2, "symbol": "A", "symbol": 1, "a": [3], "A": 4}"#)),
        ("many-duplicate-keys", format!("{{{}\"a\":0}}", "\"a\":1,".repeat(20_000)).into_bytes()),
        ("huge-exponent", text("{\"score\": 1e999999999, \"price\": -1e-999999999}")),
        (
            "many-digits",
            format!("{{\"score\": {}, \"price\": 0.{}}}", "9".repeat(10_000), "1".repeat(10_000)).into_bytes(),
        ),
        ("edge-integers", text("[9007199254740993, 18446744073709551616, -9223372036854775809, -0, 1E+2]")),
        ("long-text", format!("{{\"symbol\": \"{}\"}}", "x".repeat(TEXT_BYTES)).into_bytes()),
        ("long-key", format!("{{\"{}\": 1}}", "k".repeat(TEXT_BYTES)).into_bytes()),
        ("long-bare-text", "x".repeat(TEXT_BYTES).into_bytes()),
        ("long-escapes", format!("\"{}\"", "\\u0041".repeat(TEXT_BYTES / 6)).into_bytes()),
        ("long-list", format!("[{}0]", "0,".repeat(TEXT_BYTES / 64)).into_bytes()),
        (
            "many-keys",
            format!("{{{}\"z\":0}}", (0..20_000).map(|n| format!("\"k{n}\":{n},")).collect::<String>()).into_bytes(),
        ),
        ("deep-lists", format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)).into_bytes()),
        ("deep-objects", format!("{}1{}", "{\"a\":".repeat(50_000), "}".repeat(50_000)).into_bytes()),
        ("open-lists", "[".repeat(TEXT_BYTES / 8).into_bytes()),
        ("open-objects", "{\"a\":".repeat(TEXT_BYTES / 32).into_bytes()),
        ("parentheses", format!("{}{}", "(".repeat(5_000), ")".repeat(5_000)).into_bytes()),
        ("signs", format!("{}1", "-".repeat(50_000)).into_bytes()),
        ("words", "not ".repeat(10_000).into_bytes()),
        ("json-in-json", nested(6)),
        ("lines", "{\"a\":1}\n".repeat(20_000).into_bytes()),
        ("empty-lines", "\n".repeat(TEXT_BYTES / 8).into_bytes()),
        (
            "pickle",
            b"\x80\x04\x95\x1f\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.".to_vec(),
        ),
        ("gzip", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03".to_vec()),
        ("quotes", format!("'{}", "\\'".repeat(30_000)).into_bytes()),
    ]
}

/// JSON in a text in JSON, and so on.
fn nested(layers: usize) -> Vec<u8> {
    let wrap = |inner: String, _| serde_json::Value::from(inner).to_string();
    (0..layers).fold(r#"{"a": [1, null, "b"]}"#.to_owned(), wrap).into_bytes()
}

/// Values that a field of a record should not have.
pub(super) fn hostile_values() -> Vec<(&'static str, String)> {
    let value = |name, value: &str| (name, value.to_owned());
    vec![
        value("null", "null"),
        value("true", "true"),
        value("empty-text", "\"\""),
        value("zero", "0"),
        value("minus-zero", "-0.0"),
        value("greatest", "1.7976931348623157e308"),
        value("least", "-1.7976931348623157e308"),
        value("tiny", "5e-324"),
        value("beyond", "1e999"),
        value("integer", "18446744073709551616"),
        value("number-in-text", "\"78.5\""),
        value("nan-in-text", "\"NaN\""),
        value("list", "[]"),
        value("lists", "[[[[[[[[1]]]]]]]]"),
        value("object", "{\"a\": {}}"),
        value("zero-byte", "\"\\u0000\""),
        value("lone-surrogate", "\"\\ud800\""),
        value("prototype", "\"__proto__\""),
        value("wide", "\"\u{1f680}\u{202e}BTC\""),
        value("long", &format!("\"{}\"", "x".repeat(TEXT_BYTES))),
        value("digits", &"7".repeat(5_000)),
        value("deep", &format!("{}{}", "[".repeat(5_000), "]".repeat(5_000))),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_captured_payloads_and_signals_are_there() {
        let captured = captured();
        assert!(captured.len() > 50, "{}", captured.len());
        let pickled = captured.iter().find(|payload| payload.name == "analysis:signals.pickled.bin").unwrap();
        assert_eq!((&*pickled.key, pickled.flags), ("analysis:signals", 1));
        assert!(signals().len() > 10);
    }

    #[test]
    fn one_seed_gives_the_same_damage_again() {
        let damage = |seed| {
            let mut rng = Rng::with_seed(seed);
            (0..100).map(|_| damaged(&mut rng, b"{\"a\": [1, 2, 3], \"b\": \"text\"}")).collect::<Vec<_>>()
        };
        assert_eq!(damage(7), damage(7));
        assert_ne!(damage(7), damage(8));
    }
}
