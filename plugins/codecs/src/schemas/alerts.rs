//! `dashboard:alerts`: a list of objects, newest first. An empty list is what a writer has who knows of none, and never replaces
//! alerts that another told (B2).

use super::some_valid;
use crate::answer::{Kind, Rejection};
use crate::mend::{self, Drop, Mender};
use crate::moment;
use crate::path::Path;
use crate::tree::Json;

pub(crate) fn read<'a>(root: Json<'a>, mend: &mut Mender) -> Result<(Json<'a>, Kind), Rejection> {
    let Json::List(mut list) = root else {
        let message = format!("{} where a list of alerts belongs", root.what());
        return Err(Rejection::whole("wrong-shape", message));
    };
    let came = mend::records(&mut list, &Path::Root, mend, |alert, _, _| match alert {
        Json::Object(_) => Ok(()),
        other => Err(Drop::bad(format!("an alert must be an object, not {}", other.what()))),
    });
    some_valid(came, list.len(), "alerts")?;
    let kind = if list.is_empty() { Kind::Placeholder } else { Kind::Real };
    Ok((Json::List(list), kind))
}

/// The time of the newest alert in Unix microseconds.
pub(crate) fn newest(root: &Json<'_>) -> Option<u64> {
    let Json::List(list) = root else { return None };
    let alerts = list.iter().filter_map(Json::object);
    alerts
        .filter_map(|alert| alert.get("unix_timestamp").and_then(moment::of_value).or_else(|| moment::of_object(alert)))
        .max()
}
