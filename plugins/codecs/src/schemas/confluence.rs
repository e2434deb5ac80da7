//! `confluence:breakdown:*` and `confluence:score:*`: the analysis of one symbol.

use super::object;
use crate::answer::{Kind, Rejection};
use crate::mend::{self, Mender};
use crate::path::Path;
use crate::tree::{Json, Object};

/// A breakdown: the overall score, and the score of each component as a number.
pub(crate) fn read_breakdown<'a>(root: Json<'a>, mend: &mut Mender) -> Result<(Json<'a>, Kind), Rejection> {
    let mut root = object(root, "an object with `overall_score`")?;
    required_score(&root, "overall_score")?;
    mend::reliability(&mut root, "reliability", &Path::Root, mend);
    mend::numbers(&mut root, &["price", "change_24h", "volume_24h"], &Path::Root, mend);
    components(&mut root, &Path::Root, mend);
    Ok((Json::Object(root), Kind::Real))
}

/// A score: an object or a bare number, and an object for every reader (B47).
pub(crate) fn read_score<'a>(root: Json<'a>, mend: &mut Mender) -> Result<(Json<'a>, Kind), Rejection> {
    let root = match root {
        mut number @ (Json::Number(_) | Json::Text(_)) => {
            mend::number(&mut number, &Path::Root, mend);
            mend.reshaped();
            Object::single("score", number)
        }
        other => object(other, "a number, or an object with `score`,")?,
    };
    required_score(&root, "score")?;
    Ok((Json::Object(root), Kind::Real))
}

/// Makes each component a number: some producers write an object that holds the number as its `score`.
pub(crate) fn components(record: &mut Object<'_>, at: &Path<'_>, mend: &mut Mender) {
    let Some(Json::Object(components)) = record.get_mut("components") else { return };
    let at = at.field("components");
    for (name, component) in components.iter_mut() {
        if let Json::Object(object) = component
            && let Some(score) = object.take("score")
        {
            *component = score;
            mend.reshaped();
        }
        mend::number(component, &at.field(name), mend);
    }
}

fn required_score(root: &Object<'_>, name: &'static str) -> Result<(), Rejection> {
    match root.get(name) {
        Some(Json::Number(_)) => Ok(()),
        found => {
            let found = found.map_or("nothing", Json::what);
            Err(Rejection::at(
                Path::Root.field(name),
                "wrong-shape",
                format!("{found} where the score, a number, belongs"),
            ))
        }
    }
}
