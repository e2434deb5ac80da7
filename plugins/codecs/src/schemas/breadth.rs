//! `market:breadth`: how many symbols rise and fall.

use super::object;
use crate::answer::{Kind, Rejection};
use crate::mend::{self, Mender};
use crate::path::Path;
use crate::tree::{Json, Object};

pub(crate) fn read<'a>(root: Json<'a>, mend: &mut Mender) -> Result<(Json<'a>, Kind), Rejection> {
    let mut root = object(root, "an object with `up_count` and `down_count`")?;
    let up = count(&root, "up_count")?.ok_or_else(|| missing("up_count"))?;
    let down = count(&root, "down_count")?.ok_or_else(|| missing("down_count"))?;
    let flat = count(&root, "flat_count")?.unwrap_or(0.0);
    mend::numbers(&mut root, &["breadth_percentage"], &Path::Root, mend);
    mend::within(&mut root, "breadth_percentage", 0.0..=100.0, mend);
    let kind = if up + down + flat > 0.0 { Kind::Real } else { Kind::Placeholder };
    Ok((Json::Object(root), kind))
}

fn count(root: &Object<'_>, name: &'static str) -> Result<Option<f64>, Rejection> {
    let wrong =
        |what: String| Err(Rejection::at(Path::Root.field(name), "wrong-shape", format!("a count cannot be {what}")));
    match root.given(name) {
        None => Ok(None),
        Some(value) => match value.number() {
            Some(count) if count >= 0.0 => Ok(Some(count)),
            Some(count) => wrong(count.to_string()),
            None => wrong(value.what().to_owned()),
        },
    }
}

fn missing(name: &'static str) -> Rejection {
    Rejection::at(Path::Root.field(name), "wrong-shape", "the count is missing")
}
