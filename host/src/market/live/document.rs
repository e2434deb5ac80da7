//! [`LiveDocument`], and what changes from one to the next.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value};

/// Members of `mobile-data` that are told; the others repeat them under other names.
const MEMBERS: [&str; 10] = [
    "status",
    "data_source",
    "timestamp",
    "sections",
    "market_overview",
    "market_breadth",
    "top_movers",
    "opportunities",
    "perps",
    "left_out",
];

/// Members of a symbol that follow from others, or from its place.
const DERIVED: [&str; 4] = ["symbol", "has_breakdown", "range_24h", "reliability_percent"];

const SYMBOLS: &str = "symbols";

/// An object without any null: what is not known is not there.
#[derive(Default)]
pub(super) struct LiveDocument {
    value: Value,
    /// The names of the symbols, best score first.
    order: Vec<String>,
}

#[derive(Deserialize)]
struct SymbolsView {
    symbols: Vec<Map<String, Value>>,
}

// === impl LiveDocument ===

impl LiveDocument {
    /// Makes it of the bodies of two views.
    pub fn of(mobile: &[u8], symbols: &[u8]) -> serde_json::Result<Self> {
        let mut document: Map<String, Value> = serde_json::from_slice(mobile)?;
        document.retain(|name, _| MEMBERS.contains(&name.as_str()));
        let SymbolsView { symbols } = serde_json::from_slice(symbols)?;
        let mut order = Vec::with_capacity(symbols.len());
        let mut by_name = Map::new();
        for mut symbol in symbols {
            let Some(name) = symbol.get("symbol").and_then(Value::as_str).map(str::to_owned) else { continue };
            symbol.retain(|member, _| !DERIVED.contains(&member.as_str()));
            order.push(name.clone());
            by_name.insert(name, symbol.into());
        }
        document.insert(SYMBOLS.to_owned(), by_name.into());
        let mut value = Value::Object(document);
        without_nulls(&mut value);
        Ok(Self { value, order })
    }

    /// The document itself.
    pub const fn as_value(&self) -> &Value {
        &self.value
    }

    /// How many symbols there are.
    pub fn symbols(&self) -> usize {
        self.order.len()
    }

    /// Its JSON with the first `limit` symbols, its version, and how many symbols there are.
    pub fn first(&self, limit: usize, version: &str) -> Bytes {
        let mut document = self.value.as_object().cloned().unwrap_or_default();
        if let Some(Value::Object(symbols)) = document.get_mut(SYMBOLS)
            && limit < self.order.len()
        {
            let first = self.order[..limit].iter().filter_map(|name| symbols.remove_entry(name)).collect();
            *symbols = first;
        }
        document.insert("version".to_owned(), version.into());
        document.insert("symbols_total".to_owned(), self.order.len().into());
        Value::Object(document).to_string().into()
    }
}

fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(without_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(without_nulls),
        _ => {}
    }
}

/// The RFC 7396 merge patch that makes `new` of `old`; `None` when there is nothing to change. No member may be null.
pub(super) fn merge_patch(old: &Value, new: &Value) -> Option<Value> {
    let (Value::Object(before), Value::Object(after)) = (old, new) else {
        return (old != new).then(|| new.clone());
    };
    let gone = before.keys().filter(|name| !after.contains_key(*name)).map(|name| (name.clone(), Value::Null));
    let changed = after.iter().filter_map(|(name, value)| {
        let change = match before.get(name) {
            Some(known) => merge_patch(known, value)?,
            None => value.clone(),
        };
        Some((name.clone(), change))
    });
    let patch: Map<_, _> = gone.chain(changed).collect();
    (!patch.is_empty()).then_some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_repeats_and_what_is_not_known_is_left_out() {
        let mobile = json!({ "status": "success", "market_overview": { "a": 1, "b": null }, "top_symbols": [1] });
        let symbols = json!({ "symbols": [
            { "symbol": "B", "score": 2, "price": null, "range_24h": 3 }, { "symbol": "A", "score": 1 }, { "score": 0 } ] });
        let document = LiveDocument::of(mobile.to_string().as_bytes(), symbols.to_string().as_bytes()).unwrap();
        let expected = json!({ "status": "success", "market_overview": { "a": 1 },
                               "symbols": { "A": { "score": 1 }, "B": { "score": 2 } } });
        assert_eq!(*document.as_value(), expected);
        let first: Value = serde_json::from_slice(&document.first(1, "v")).unwrap();
        assert_eq!(first["symbols"], json!({ "B": { "score": 2 } }), "the best score");
        assert_eq!((&first["version"], &first["symbols_total"]), (&json!("v"), &json!(2)));
    }

    #[test]
    fn only_what_changed_is_told() {
        let old = json!({ "a": { "x": 1, "y": [1, 2] }, "b": 1, "c": {} });
        let new = json!({ "a": { "x": 1, "y": [1, 3] }, "c": {}, "d": { "e": 1 } });
        assert_eq!(merge_patch(&old, &new), Some(json!({ "a": { "y": [1, 3] }, "b": null, "d": { "e": 1 } })));
        assert_eq!(merge_patch(&old, &old), None);
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![any::<bool>().prop_map(Value::from), (0..3u8).prop_map(Value::from)];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[a-c]", inner, 0..4).prop_map(|members| members.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_patch_makes_the_new_document_of_the_old(old in any_value(), new in any_value()) {
            let mut patched = old.clone();
            if let Some(patch) = merge_patch(&old, &new) {
                json_patch::merge(&mut patched, &patch);
            }
            prop_assert_eq!(patched, new);
        }
    }
}
