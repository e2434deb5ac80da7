//! `analysis:signals`: the latest signal of each symbol, stored once under `signals` (B52).

use super::{confluence, object, some_valid};
use crate::answer::{Kind, Rejection};
use crate::mend::{self, Drop, Mender};
use crate::path::Path;
use crate::tree::Json;

/// Optional fields that readers format as numbers.
const NUMBERS: [&str; 9] = [
    "price",
    "change_24h",
    "price_change_percent",
    "volume_24h",
    "volume",
    "high_24h",
    "low_24h",
    "turnover_24h",
    "range_24h",
];

pub(crate) fn read<'a>(root: Json<'a>, mend: &mut Mender) -> Result<(Json<'a>, Kind), Rejection> {
    let mut root = object(root, "an object with `signals`")?;
    mend::fold_alias(&mut root, "signals", "recent_signals", mend);
    mend::reliability(&mut root, "avg_reliability", &Path::Root, mend);
    let at = Path::Root.field("signals");
    let Some(Json::List(list)) = root.get_mut("signals") else {
        return Err(Rejection::at(at, "wrong-shape", "a list of signals belongs here"));
    };
    let came = mend::records(list, &at, mend, signal);
    let kept = list.len();
    some_valid(came, kept, "signals")?;
    if kept < came {
        root.set("total_signals", Json::Number(kept.into()));
    }
    let kind = if kept == 0 { Kind::Placeholder } else { Kind::Real };
    Ok((Json::Object(root), kind))
}

fn signal(record: &mut Json<'_>, at: &Path<'_>, mend: &mut Mender) -> Result<(), Drop> {
    let signal = mend::with_symbol(record)?;
    match signal.given("confluence_score").or_else(|| signal.given("score")) {
        Some(Json::Number(_)) => {}
        Some(other) => return Err(Drop::bad(format!("the score must be a number, not {}", other.what()))),
        None => return Err(Drop::bad("a signal needs a score")),
    }
    mend::reliability(signal, "reliability", at, mend);
    mend::numbers(signal, &NUMBERS, at, mend);
    confluence::components(signal, at, mend);
    Ok(())
}
