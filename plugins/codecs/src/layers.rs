//! Extra layers of encoding: a document that was dumped to a string, and the string dumped again (B15).

use std::borrow::Cow;

use crate::answer::Rejection;
use crate::tree::Text;

/// The greatest number of extra layers that are removed. More are a fault of the producer, not a habit.
pub(crate) const MAX_LAYERS: usize = 2;

/// A text without its extra layers.
pub(crate) struct Opened<'t> {
    pub(crate) text: Cow<'t, str>,
    pub(crate) layers: usize,
}

/// Removes the layers around a list or an object. A string that holds anything else is a string.
pub(crate) fn open(text: &str) -> Result<Opened<'_>, Rejection> {
    let mut opened = Opened { text: Cow::Borrowed(text), layers: 0 };
    while opened.text.trim_start().starts_with('"') {
        let Ok(Text(inner)) = serde_json::from_str(&opened.text) else { break };
        if !inner.trim_start().starts_with(['{', '[', '"']) {
            break;
        }
        if opened.layers == MAX_LAYERS {
            let message = format!("the value is encoded more than {MAX_LAYERS} times over; encode it once");
            return Err(Rejection::whole("encoded-too-deep", message));
        }
        opened = Opened { text: Cow::Owned(inner.into_owned()), layers: opened.layers + 1 };
    }
    if opened.text.trim_start().starts_with(['{', '[']) {
        Ok(opened)
    } else {
        Ok(Opened { text: Cow::Borrowed(text), layers: 0 })
    }
}
