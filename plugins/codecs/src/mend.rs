//! Keeps the account of what was changed in a payload, and holds the repairs that many schemas share.

use std::fmt::Display;

use serde_json::Number;

use crate::answer::Repair;
use crate::path::Path;
use crate::tree::{Json, Object};

/// The greatest number of repairs that one answer lists; the rest is counted.
pub(crate) const MAX_REPAIRS: usize = 64;

/// The account of one payload.
#[derive(Default)]
pub(crate) struct Mender {
    changed: bool,
    repairs: Vec<Repair>,
    more: usize,
}

impl Mender {
    /// Notes a difference of form that loses nothing: the bytes change, and nothing was wrong.
    pub(crate) fn reshaped(&mut self) {
        self.changed = true;
    }

    /// Notes that something was wrong and is mended.
    pub(crate) fn repaired(&mut self, code: &'static str, path: impl Display, message: impl Into<String>) {
        self.changed = true;
        if self.repairs.len() < MAX_REPAIRS {
            self.repairs.push(Repair { code, path: path.to_string(), message: message.into() });
        } else {
            self.more += 1;
        }
    }

    /// Whether the payload is no longer canonical as it came.
    pub(crate) fn is_changed(&self) -> bool {
        self.changed
    }

    /// The repairs; the last one counts those that did not fit.
    pub(crate) fn into_repairs(mut self) -> Vec<Repair> {
        if self.more > 0 {
            let message = format!("{} more repairs are not listed", self.more);
            self.repairs.push(Repair { code: "more-repairs", path: "$".to_owned(), message });
        }
        self.repairs
    }
}

/// Makes every field of `names` a number or null: readers format these fields, and a string would break them (B56).
pub(crate) fn numbers(object: &mut Object<'_>, names: &[&str], at: &Path<'_>, mend: &mut Mender) {
    for (name, value) in object.iter_mut() {
        if !matches!(value, Json::Number(_) | Json::Null) && names.contains(&name) {
            number(value, &at.field(name), mend);
        }
    }
}

/// Makes a value a number or null. Text that spells a number is that number.
pub(crate) fn number(value: &mut Json<'_>, at: &Path<'_>, mend: &mut Mender) {
    if matches!(value, Json::Number(_) | Json::Null) {
        return;
    }
    if let Some(number) = value.text().and_then(spelled) {
        mend.repaired("numeric-text", at, "a number was written as a string");
        *value = Json::Number(number);
    } else {
        mend.repaired("wrong-type", at, format!("{} stood where a number belongs; it is null now", value.what()));
        *value = Json::Null;
    }
}

/// The number that a text spells, if it is finite.
pub(crate) fn spelled(text: &str) -> Option<Number> {
    let text = text.trim();
    serde_json::from_str(text).ok().or_else(|| Number::from_f64(text.parse().ok()?))
}

/// Nulls a number outside of `range`.
pub(crate) fn within(
    object: &mut Object<'_>,
    name: &'static str,
    range: std::ops::RangeInclusive<f64>,
    mend: &mut Mender,
) {
    if let Some(value) = object.get_mut(name)
        && let Some(number) = value.number()
        && !range.contains(&number)
    {
        let message = match range.end().is_finite() {
            true => format!("{number} is not within {} and {}; it is null now", range.start(), range.end()),
            false => format!("{number} is less than {}; it is null now", range.start()),
        };
        mend.repaired("out-of-range", Path::Root.field(name), message);
        *value = Json::Null;
    }
}

/// Brings a reliability to the one scale of 0 to 1 (B18, B20). Producers use that scale and percent alike.
pub(crate) fn reliability(object: &mut Object<'_>, name: &'static str, at: &Path<'_>, mend: &mut Mender) {
    let Some(value) = object.get_mut(name) else { return };
    match value {
        Json::Null => {}
        Json::Number(number) => match number.as_f64() {
            Some(share) if (0.0..=1.0).contains(&share) => {}
            Some(percent) if (1.0..=100.0).contains(&percent) => {
                mend.repaired(
                    "reliability-scale",
                    at.field(name),
                    format!("{percent} percent is written as a share of 1"),
                );
                *value = (percent / 100.0).into();
            }
            _ => {
                mend.repaired(
                    "reliability-scale",
                    at.field(name),
                    format!("{number} is on no known scale; it is null now"),
                );
                *value = Json::Null;
            }
        },
        ref other => {
            mend.repaired(
                "reliability-scale",
                at.field(name),
                format!("{} is no reliability; it is null now", other.what()),
            );
            *value = Json::Null;
        }
    }
}

/// Stores a list once that came under two names (B52): an empty or missing `primary` is filled from `alias`.
pub(crate) fn fold_alias(object: &mut Object<'_>, primary: &'static str, alias: &'static str, mend: &mut Mender) {
    let is_empty = |value: &Json<'_>| match value {
        Json::List(list) => list.is_empty(),
        other => *other == Json::Null,
    };
    let Some(second) = object.get(alias) else { return };
    let first = object.given(primary);
    if first.is_none_or(|first| is_empty(first) && !is_empty(second)) {
        if *second != Json::Null {
            object.take(primary);
            object.rename(alias, primary);
            mend.reshaped();
        }
        return;
    }
    if !is_empty(second) && first != Some(second) {
        let message = format!("`{alias}` differs from `{primary}`, of which it is an alias; `{primary}` counts");
        mend.repaired("alias-disagrees", Path::Root.field(alias), message);
    }
    object.take(alias);
    mend.reshaped();
}

/// Keeps the records that `check` accepts and drops each other one by itself (B32). Tells how many came.
pub(crate) fn records<'a>(
    list: &mut Vec<Json<'a>>,
    at: &Path<'_>,
    mend: &mut Mender,
    mut check: impl FnMut(&mut Json<'a>, &Path<'_>, &mut Mender) -> Result<(), Drop>,
) -> usize {
    let came = list.len();
    let mut index = 0;
    list.retain_mut(|record| {
        let here = at.item(index);
        index += 1;
        match check(record, &here, mend) {
            Ok(()) => true,
            Err(dropped) => {
                dropped.note(here, mend);
                false
            }
        }
    });
    came
}

/// Why a record is dropped.
pub(crate) struct Drop {
    code: &'static str,
    why: String,
}

impl Drop {
    /// The record is unusable.
    pub(crate) fn bad(why: impl Into<String>) -> Self {
        Self::coded("dropped-record", why)
    }

    /// The record is dropped for a reason of its own code.
    pub(crate) fn coded(code: &'static str, why: impl Into<String>) -> Self {
        Self { code, why: why.into() }
    }

    /// Enters it into the account.
    pub(crate) fn note(self, at: impl Display, mend: &mut Mender) {
        mend.repaired(self.code, at, self.why);
    }
}

/// The object of a record that has a symbol.
pub(crate) fn with_symbol<'r, 'a>(record: &'r mut Json<'a>) -> Result<&'r mut Object<'a>, Drop> {
    let what = record.what();
    let Json::Object(object) = record else {
        return Err(Drop::bad(format!("a record must be an object, not {what}")));
    };
    match object.get("symbol") {
        Some(Json::Text(symbol)) if !symbol.trim().is_empty() => Ok(object),
        _ => Err(Drop::bad("a record needs a `symbol` that is a non-empty string")),
    }
}
