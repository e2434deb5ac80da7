//! `market:btc_dominance`: an object or a bare number, and an object for every reader (B46).

use super::object;
use crate::answer::{Kind, Rejection};
use crate::marks;
use crate::mend::{self, Mender};
use crate::path::Path;
use crate::tree::{Json, Object};

/// What the old warmer writes, alone, when it knows nothing.
const MADE_UP: f64 = 57.0;

pub(crate) fn read<'a>(root: Json<'a>, mend: &mut Mender) -> Result<(Json<'a>, Kind), Rejection> {
    let root = match root {
        mut number @ (Json::Number(_) | Json::Text(_)) => {
            mend::number(&mut number, &Path::Root, mend);
            mend.reshaped();
            let made_up = number.number() == Some(MADE_UP);
            let mut object = Object::single("dominance", number);
            if made_up {
                // In an object the number could be true, so the mark goes with it.
                object.set("status", Json::Text(marks::FALLBACK.into()));
            }
            object
        }
        other => {
            let mut root = object(other, "a number, or an object with `dominance`,")?;
            mend::numbers(&mut root, &["dominance", "change_24h"], &Path::Root, mend);
            root
        }
    };
    let at = Path::Root.field("dominance");
    let kind = match root.get("dominance").and_then(Json::number) {
        Some(0.0) => Kind::Placeholder,
        Some(share) if (0.0..=100.0).contains(&share) => Kind::Real,
        Some(share) => {
            return Err(Rejection::at(at, "out-of-range", format!("{share} is not a percentage from 0 to 100")));
        }
        None => return Err(Rejection::at(at, "wrong-shape", "the percentage is missing")),
    };
    Ok((Json::Object(root), kind))
}
