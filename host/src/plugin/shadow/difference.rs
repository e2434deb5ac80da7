//! Where two versions of a plugin answer otherwise: documents and views as JSON, field by field; plans as actions; payloads as
//! canonical bytes, with kind, repairs and rejections.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde_json::{Value, json};

use crate::market::Publication;
use crate::plugin::call::{Answer, Question};
use crate::plugin::tape::json as words;

/// The longest value of an example in bytes; the rest is cut.
const SHOWN_BYTES_MAX: usize = 200;

/// Where two answers first differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::plugin) struct Difference {
    /// What of the answer: a view, a document, an action, the payload.
    pub(in crate::plugin) what: String,
    /// A JSON pointer (RFC 6901).
    pub(in crate::plugin) path: String,
    /// What the active version says there.
    pub(in crate::plugin) active: String,
    /// What the other says there.
    pub(in crate::plugin) other: String,
    /// Places that differ.
    pub(in crate::plugin) places: usize,
}

/// Compares two answers to one question, part by part: answers how many parts there are, and those that differ.
pub(in crate::plugin) fn differences(question: &Question, active: &Answer, other: &Answer) -> (usize, Vec<Difference>) {
    if let (Question::Compose { views, .. }, Answer::Composed(a), Answer::Composed(b)) = (question, active, other)
        && a.len() == b.len()
    {
        let parts = views.iter().zip(a.iter().zip(b));
        let found = parts.filter_map(|(view, (a, b))| bodies(&format!("view {} of {}", view.name, view.limit), a, b));
        return (views.len(), found.collect());
    }
    if let (Answer::Published(a), Answer::Published(b)) = (active, other) {
        return publications(a, b);
    }
    if let (Answer::Failed(a), Answer::Failed(b)) = (active, other)
        && a.cause.label() == b.cause.label()
    {
        return (1, Vec::new());
    }
    let [a, b] = [active, other].map(|answer| words::whole(question, words::answer(answer)));
    (1, values(question.call(), &a, &b).into_iter().collect())
}

/// Compares what two versions publish, document by document.
fn publications(a: &[Publication], b: &[Publication]) -> (usize, Vec<Difference>) {
    let by_key = |published: &'_ [Publication]| -> BTreeMap<String, Publication> {
        published.iter().map(|one| (one.key.to_string(), one.clone())).collect()
    };
    let (a, b) = (by_key(a), by_key(b));
    let keys: BTreeSet<_> = a.keys().chain(b.keys()).collect();
    let one = |key: &&String| {
        let what = format!("document {key}");
        let shown = |one: Option<&Publication>| one.map_or("absent", |_| "published").to_owned();
        match (a.get(*key), b.get(*key)) {
            (Some(a), Some(b)) if a.ttl_seconds != b.ttl_seconds => {
                values(&what, &json!({ "ttl_seconds": a.ttl_seconds }), &json!({ "ttl_seconds": b.ttl_seconds }))
            }
            (Some(a), Some(b)) => bodies(&what, &a.body, &b.body),
            (a, b) => Some(Difference { what, path: String::new(), active: shown(a), other: shown(b), places: 1 }),
        }
    };
    (keys.len().max(1), keys.iter().filter_map(one).collect())
}

/// Bodies that are the same JSON are the same.
fn bodies(what: &str, a: &Bytes, b: &Bytes) -> Option<Difference> {
    if a == b {
        return None;
    }
    match (serde_json::from_slice(a), serde_json::from_slice(b)) {
        (Ok(a), Ok(b)) => values(what, &a, &b),
        _ => values(what, &words::text(a), &words::text(b)),
    }
}

/// Where two values first differ.
pub(in crate::plugin) fn values(what: &str, a: &Value, b: &Value) -> Option<Difference> {
    if a == b {
        return None;
    }
    let patch = json_patch::diff(a, b);
    // Of all places the first one, as a reader meets them.
    let path = patch.0.first().map(|operation| operation.path().to_string()).unwrap_or_default();
    let at = |value: &Value| match value.pointer(&path) {
        None => "absent".to_owned(),
        Some(value) => crate::plugin::answer::one_line(&value.to_string(), SHOWN_BYTES_MAX),
    };
    Some(Difference { what: what.to_owned(), active: at(a), other: at(b), path, places: patch.0.len() })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::cache::Decoded;
    use crate::market::ViewRequest;
    use crate::record::{Key, Kind, Rejection, Repair, Time};

    fn views(bodies: &[&'static str]) -> Answer {
        Answer::Composed(bodies.iter().map(|body| Bytes::from_static(body.as_bytes())).collect())
    }

    fn compose(names: &[&str]) -> Question {
        let views = names.iter().map(|name| ViewRequest { name: (*name).to_owned(), limit: 10 }).collect();
        Question::Compose { now: Time::default(), views, documents: Arc::from([]) }
    }

    #[test]
    fn views_are_compared_as_json_field_by_field_and_the_first_place_is_named() {
        let question = compose(&["a", "b"]);
        let active = views(&[r#"{"x": 1, "y": [1, {"z": 2}]}"#, "{}"]);
        let same = views(&[r#"{"y":[1,{"z":2}],"x":1}"#, "{}"]);
        assert_eq!(differences(&question, &active, &same), (2, vec![]), "form is no difference");
        let (parts, found) = differences(&question, &active, &views(&[r#"{"x":1,"y":[1,{"z":3}]}"#, "{}"]));
        let expected = Difference {
            what: "view a of 10".into(),
            path: "/y/1/z".into(),
            active: "2".into(),
            other: "3".into(),
            places: 1,
        };
        assert_eq!((parts, found), (2, vec![expected]));
    }

    /// What a codec answers that accepts a payload with these canonical bytes, of this kind, with these repairs.
    fn decoded(canonical: impl Into<Option<&'static str>>, kind: Kind, repairs: &[&str]) -> Answer {
        let repair = |code: &&str| Repair { code: (*code).to_owned(), path: "$.a".into(), message: "mended".into() };
        Answer::Decoded(Ok(Decoded {
            canonical: canonical.into().map(Bytes::from),
            kind,
            produced_at: None,
            schema: "test".into(),
            schema_version: None,
            repairs: repairs.iter().map(repair).collect(),
        }))
    }

    fn rejected(code: &str) -> Answer {
        let (code, message) = (code.to_owned(), "send something else".to_owned());
        Answer::Decoded(Err(Rejection { code, message, path: "$".to_owned() }))
    }

    #[test]
    fn codecs_differ_in_canonical_bytes_kind_repairs_and_rejections() {
        let payload = Bytes::from_static(b"{'a': 1}");
        let question = Question::Decode { now: Time::default(), key: Key::new("k").unwrap(), payload, flags: 0 };
        let sound = || decoded(r#"{"a":1}"#, Kind::Real, &["single-quotes"]);
        for (active, other, path, places) in [
            (sound(), decoded(r#"{"a":2}"#, Kind::Real, &["single-quotes"]), "/decoded/canonical", 1),
            // The same value in other bytes: canonical means one form.
            (sound(), decoded(r#"{"a": 1}"#, Kind::Real, &["single-quotes"]), "/decoded/canonical", 1),
            (sound(), decoded(r#"{"a":1}"#, Kind::Placeholder, &["single-quotes"]), "/decoded/kind", 1),
            (sound(), decoded(r#"{"a":1}"#, Kind::Real, &["bare-text"]), "/decoded/repairs/0/code", 1),
            (sound(), decoded(r#"{"a":1}"#, Kind::Real, &[]), "/decoded/repairs/0", 1),
            (rejected("not-json"), rejected("wrong-shape"), "/rejection/code", 1),
            // One has what the other lacks.
            (sound(), rejected("not-json"), "/rejection", 2),
        ] {
            let (parts, found) = differences(&question, &active, &other);
            let told: Vec<_> = found.iter().map(|found| (&*found.what, &*found.path, found.places)).collect();
            assert_eq!((parts, told), (1, vec![("decode", path, places)]), "{active:?} {other:?}");
            assert_ne!(found[0].active, found[0].other, "both sides are told");
        }
        for same in [sound, || rejected("not-json")] {
            assert_eq!(differences(&question, &same(), &same()), (1, vec![]));
        }
    }

    #[test]
    fn a_payload_that_one_version_leaves_as_it_was_and_another_repeats_is_no_difference() {
        let payload = r#"{"a":1}"#;
        let key = Key::new("k").unwrap();
        let question = Question::Decode { now: Time::default(), key, payload: payload.into(), flags: 0 };
        let left = decoded(None, Kind::Real, &[]);
        assert_eq!(differences(&question, &left, &decoded(payload, Kind::Real, &[])), (1, vec![]));
        let (_, found) = differences(&question, &left, &decoded("{}", Kind::Real, &[]));
        assert_eq!((found.len(), &*found[0].path), (1, "/decoded/canonical"));
    }

    #[test]
    fn a_document_that_only_one_publishes_is_a_difference() {
        let publication =
            |key: &str| Publication { key: Key::new(key).unwrap(), body: Bytes::from_static(b"{}"), ttl_seconds: 1 };
        let question = Question::Documents { now: Time::default() };
        let (one, none) = (Answer::Published(vec![publication("k")]), Answer::Published(vec![]));
        assert_eq!(differences(&question, &one, &one.clone()), (1, vec![]));
        let (_, found) = differences(&question, &one, &none);
        assert_eq!((found.len(), &*found[0].what, &*found[0].other), (1, "document k", "absent"));
    }
}
