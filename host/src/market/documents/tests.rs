//! Which documents are held, and how old their data is said to be.

use bytes::Bytes;

use super::*;
use crate::record::{Digest, Origin};

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

fn record(kind: Kind, made: u64, bytes: impl Into<Bytes>) -> Arc<Record> {
    let bytes = bytes.into();
    Arc::new(Record {
        digest: Digest::of(&bytes),
        bytes,
        foreign: None,
        kind,
        version: Version(made),
        rank: 0,
        schema: "test".into(),
        produced_at: Time::from_micros(made),
        soft_expiry: Time::NEVER,
        lifetime_end: Time::NEVER,
        hard_expiry: Time::NEVER,
        origin: Origin::Gateway("test".into()),
        repairs: Arc::default(),
    })
}

fn documents() -> Documents {
    Documents::new(vec![SIGNALS.to_owned(), "confluence:breakdown:*".to_owned()])
}

#[test]
fn b61_of_the_documents_of_many_symbols_few_and_small_ones_are_held() {
    let documents = documents();
    let symbols: Vec<String> = (0..2 * EXPANDED_KEYS_MAX).map(|n| format!("{{\"symbol\":\"S{n}\"}}")).collect();
    let signals = format!("{{\"signals\":[{}]}}", symbols.join(","));
    let too_large = record(Kind::Real, 1, vec![b' '; EXPANDED_RECORD_BYTES_MAX + 1]);
    // Whether it is known when its symbol is first named, or comes later.
    assert!(documents.take(&key(SIGNALS), record(Kind::Real, 1, signals), |_| Some(too_large.clone())));
    assert_eq!(documents.keys().len(), 1 + EXPANDED_KEYS_MAX);
    assert!(!documents.take(&key("confluence:breakdown:S1"), too_large.clone(), |_| None));
    assert!(!documents.take(&key("confluence:breakdown:S1999"), record(Kind::Real, 1, "{}"), |_| None), "no key");
    assert_eq!(documents.live(Time::now()).len(), 1);

    let small = key("confluence:breakdown:S2");
    assert!(documents.take(&small, record(Kind::Real, 1, "{}"), |_| None));
    assert_eq!(documents.live(Time::now()).len(), 2);
    let outgrown = record(Kind::Real, 2, vec![b' '; EXPANDED_RECORD_BYTES_MAX + 1]);
    assert!(documents.take(&small, outgrown, |_| None), "what it replaces is not shown as current");
    assert_eq!(documents.live(Time::now()).len(), 1);
}

#[test]
fn b54_the_age_is_that_of_real_data_also_when_a_placeholder_took_its_place() {
    let documents = documents();
    let made = |documents: &Documents| documents.made().into_iter().map(|(_, made)| made.micros()).collect::<Vec<_>>();
    documents.take(&key(SIGNALS), record(Kind::Placeholder, 5, "{}"), |_| None);
    assert!(made(&documents).is_empty());
    documents.take(&key(SIGNALS), record(Kind::Real, 7, "{}"), |_| None);
    assert_eq!(made(&documents), [7]);
    documents.forget(&key(SIGNALS), Version(7));
    documents.take(&key(SIGNALS), record(Kind::Placeholder, 9, "{}"), |_| None);
    assert_eq!(made(&documents), [7]);
}
