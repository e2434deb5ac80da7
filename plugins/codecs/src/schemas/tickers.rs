//! `market:tickers`: three shapes on one key (B45), and a map from symbol to ticker for every reader.

use std::borrow::Cow;

use super::{object, some_valid};
use crate::answer::{Kind, Rejection};
use crate::marks;
use crate::mend::{self, Drop, Mender};
use crate::path::Path;
use crate::tree::{Json, Object};

/// What a record of a list calls its fields, and what the map calls them.
const RENAMED: [(&str, &str); 5] = [
    ("price_change_percent", "change_24h"),
    ("volume", "volume_24h"),
    ("volume_24h_usd", "turnover_24h"),
    ("high_24h", "high"),
    ("low_24h", "low"),
];

/// What may stand beside the tickers. It is no ticker and has no place in the map.
const METADATA: [&str; 11] = [
    "__cache_key",
    "__schema_version",
    "count",
    "datetime",
    "last_updated",
    "source",
    "status",
    "tickers",
    "timestamp",
    "total_count",
    "version",
];

/// Optional fields that readers format as numbers.
const NUMBERS: [&str; 8] = ["change_24h", "volume_24h", "turnover_24h", "high", "low", "volume", "bid", "ask"];

pub(crate) fn read<'a>(root: Json<'a>, mend: &mut Mender) -> Result<(Json<'a>, Kind), Rejection> {
    if marks::is_marked(&root) {
        // The map has no place for the mark, so what it marks goes with it.
        mend.reshaped();
        return Ok((Json::Object(Object::default()), Kind::Placeholder));
    }
    let mut root = object(root, "an object of tickers")?;
    let at = Path::Root.field("tickers");
    let (fields, came) = match root.take("tickers") {
        Some(Json::List(list)) => {
            mend.reshaped();
            let came = list.len();
            (from_list(list, &at, mend), came)
        }
        Some(Json::Object(map)) => {
            mend.reshaped();
            from_map(map, &at, mend)
        }
        Some(other) => return Err(Rejection::at(at, "wrong-shape", format!("{} where tickers belong", other.what()))),
        None => from_map(root, &Path::Root, mend),
    };
    some_valid(came, fields.len(), "tickers")?;
    let (map, replaced) = Object::of(fields);
    if replaced > 0 {
        mend.repaired("dropped-record", at, format!("{replaced} tickers are of a symbol that comes again later"));
    }
    let kind = if map.is_empty() { Kind::Placeholder } else { Kind::Real };
    Ok((Json::Object(map), kind))
}

type Fields<'a> = Vec<(Cow<'a, str>, Json<'a>)>;

fn from_list<'a>(mut list: Vec<Json<'a>>, at: &Path<'_>, mend: &mut Mender) -> Fields<'a> {
    mend::records(&mut list, at, mend, |record, at, mend| {
        let record = mend::with_symbol(record)?;
        if record.get("symbol").and_then(Json::text).is_some_and(|symbol| METADATA.contains(&symbol)) {
            return Err(Drop::bad("the symbol is the name of a field that stands beside the tickers"));
        }
        for (old, new) in RENAMED {
            record.rename(old, new);
        }
        ticker(record, at, mend)
    });
    let named = |record| match record {
        Json::Object(mut ticker) => match ticker.take("symbol")? {
            Json::Text(symbol) => Some((symbol, Json::Object(ticker))),
            _ => None,
        },
        _ => None,
    };
    list.into_iter().filter_map(named).collect()
}

/// The tickers of a map, and how many came.
fn from_map<'a>(map: Object<'a>, at: &Path<'_>, mend: &mut Mender) -> (Fields<'a>, usize) {
    let all = map.len();
    let mut fields = map.into_fields();
    fields.retain(|(name, _)| !METADATA.contains(&name.as_ref()));
    let came = fields.len();
    if came < all {
        mend.reshaped();
    }
    fields.retain_mut(|(symbol, value)| {
        let at = at.field(symbol);
        let checked = match value {
            Json::Object(record) => ticker(record, &at, mend),
            other => Err(Drop::bad(format!("a ticker must be an object, not {}", other.what()))),
        };
        match checked {
            Ok(()) => true,
            Err(dropped) => {
                dropped.note(at, mend);
                false
            }
        }
    });
    (fields, came)
}

fn ticker(ticker: &mut Object<'_>, at: &Path<'_>, mend: &mut Mender) -> Result<(), Drop> {
    match ticker.get("price") {
        Some(Json::Number(_)) => {}
        found => {
            return Err(Drop::bad(format!(
                "{} where the price, a number, belongs",
                found.map_or("nothing", Json::what)
            )));
        }
    }
    mend::numbers(ticker, &NUMBERS, at, mend);
    Ok(())
}
