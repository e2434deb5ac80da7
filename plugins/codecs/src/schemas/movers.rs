//! `market:movers`: the greatest gains, losses and volumes, each list stored once (B52).

use super::{object, some_valid};
use crate::answer::{Kind, Rejection};
use crate::mend::{self, Drop, Mender};
use crate::path::Path;
use crate::tree::{Json, Object};

/// The lists, each with the sign that its changes must have. Leaders in volume may go either way.
const LISTS: [(&str, Option<f64>); 3] = [("gainers", Some(1.0)), ("losers", Some(-1.0)), ("volume_leaders", None)];

/// The names of the change in percent; producers write one, two or all.
const CHANGES: [&str; 4] = ["change", "change_24h", "price_change_percent", "percentage"];

/// Other fields that readers format as numbers.
const NUMBERS: [&str; 4] = ["price", "volume", "volume_24h", "price_change_24h"];

pub(crate) fn read<'a>(root: Json<'a>, mend: &mut Mender) -> Result<(Json<'a>, Kind), Rejection> {
    let mut root = object(root, "an object with `gainers` and `losers`")?;
    mend::fold_alias(&mut root, "gainers", "top_gainers", mend);
    mend::fold_alias(&mut root, "losers", "top_losers", mend);
    if LISTS.iter().all(|(name, _)| root.get(name).is_none()) {
        return Err(Rejection::whole("wrong-shape", "none of `gainers`, `losers` and `volume_leaders` is there"));
    }
    let (mut came, mut kept) = (0, 0);
    for (name, sign) in LISTS {
        let at = Path::Root.field(name);
        match root.get_mut(name) {
            None | Some(Json::Null) => {}
            Some(Json::List(list)) => {
                came += mend::records(list, &at, mend, |record, at, mend| mover(record, sign, at, mend));
                kept += list.len();
            }
            Some(other) => {
                return Err(Rejection::at(at, "wrong-shape", format!("{} where a list belongs", other.what())));
            }
        }
    }
    some_valid(came, kept, "movers")?;
    let kind = if kept == 0 { Kind::Placeholder } else { Kind::Real };
    Ok((Json::Object(root), kind))
}

fn mover(record: &mut Json<'_>, sign: Option<f64>, at: &Path<'_>, mend: &mut Mender) -> Result<(), Drop> {
    let mover = mend::with_symbol(record)?;
    mend::numbers(mover, &CHANGES, at, mend);
    mend::numbers(mover, &NUMBERS, at, mend);
    let Some(sign) = sign else { return Ok(()) };
    match change(mover) {
        None => Err(Drop::bad("a mover needs its change in percent")),
        // A list of losers that holds gainers comes from a producer that fills it with whatever is left (B3).
        Some(change) if change * sign < 0.0 => {
            Err(Drop::coded("wrong-sign", format!("a change of {change} does not belong here")))
        }
        Some(_) => Ok(()),
    }
}

fn change(mover: &Object<'_>) -> Option<f64> {
    CHANGES.iter().find_map(|name| mover.get(name)?.number())
}
