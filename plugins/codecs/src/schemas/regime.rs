//! `analysis:market_regime`: an object or a few words, and an object for every reader (B13, B14).

use super::object;
use crate::answer::{Kind, Rejection};
use crate::mend::Mender;
use crate::path::Path;
use crate::tree::{Json, Object};

/// Labels that say that there is no label yet, in lower case.
const NO_LABEL: [&str; 5] = ["", "initializing", "unknown", "null", "none"];

pub(crate) fn read<'a>(root: Json<'a>, mend: &mut Mender) -> Result<(Json<'a>, Kind), Rejection> {
    let root = match root {
        text @ Json::Text(_) => {
            mend.reshaped();
            Object::single("regime", text)
        }
        other => object(other, "an object with `regime`, or its label alone,")?,
    };
    let labelled = match root.get("regime") {
        Some(Json::Text(label)) => !NO_LABEL.contains(&label.trim().to_lowercase().as_str()),
        Some(Json::Null) => false,
        Some(other) => return Err(wrong(format!("{} where a label belongs", other.what()))),
        None => return Err(wrong("the label is missing".to_owned())),
    };
    Ok((Json::Object(root), if labelled { Kind::Real } else { Kind::Placeholder }))
}

fn wrong(message: String) -> Rejection {
    Rejection::at(Path::Root.field("regime"), "wrong-shape", message)
}
