//! The market's types in the contract's form and back.

use bytes::Bytes;

use crate::market::{Document, Publication, RejectedSignal, Signal, ViewRequest};
use crate::plugin::answer;
use crate::plugin::bindings::aggregator::exports::tiergate::plugin::aggregator as wit;
use crate::plugin::bindings::types;
use crate::record::{Key, Kind};

/// The longest message of a rejected signal in bytes; the rest is cut.
const TEXT_BYTES_MAX: usize = 1 << 10;

pub(super) fn signal(signal: &Signal) -> wit::Signal {
    wit::Signal { seq: signal.seq, received_at: signal.received_at.micros(), body: signal.body.to_vec() }
}

/// The document, or `None` for a remembered "there is none", which is no document.
pub(super) fn document(document: &Document) -> Option<types::Document> {
    let record = &document.record;
    let kind = match record.kind {
        Kind::Placeholder => types::Kind::Placeholder,
        Kind::Real => types::Kind::Real,
        Kind::Negative => return None,
    };
    Some(types::Document {
        key: document.key.as_str().to_owned(),
        kind,
        freshness: if document.fresh { types::Freshness::Fresh } else { types::Freshness::Stale },
        produced_at: record.produced_at.micros(),
        version: record.version.0,
        body: record.bytes.to_vec(),
    })
}

pub(super) fn documents(documents: &[Document]) -> Vec<types::Document> {
    documents.iter().filter_map(document).collect()
}

pub(super) fn view(view: &ViewRequest) -> wit::ViewRequest {
    wit::ViewRequest { name: view.name.clone(), limit: view.limit }
}

/// The signal that was refused, with a code that can be a label.
pub(super) fn rejected(rejected: wit::Rejected) -> RejectedSignal {
    let code = if answer::is_words(&rejected.code, b'-') { rejected.code } else { "unnamed".to_owned() };
    RejectedSignal { seq: rejected.seq, code, message: answer::one_line(&rejected.message, TEXT_BYTES_MAX) }
}

/// The publication, or why it cannot be published.
pub(super) fn publication(publication: wit::Publication) -> Result<Publication, String> {
    let shown = answer::one_line(&publication.key, TEXT_BYTES_MAX);
    let key = Key::new(&publication.key).map_err(|error| format!("it publishes the key {shown:?}: {error}"))?;
    answer::check_json(&publication.body).map_err(|error| format!("it publishes {key} with a body that is {error}"))?;
    Ok(Publication { key, body: Bytes::from(publication.body), ttl_seconds: publication.ttl_seconds })
}
