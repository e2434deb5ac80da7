//! The marks by which the old warmers tell what they made up.

use crate::tree::Json;

/// The mark that a made-up value gets where its own form had no place for one.
pub(crate) const FALLBACK: &str = "fallback";

/// All values of the field `status` that mark a placeholder.
const MARKS: [&str; 4] = ["cache_warmer_generated", "warming_placeholder", FALLBACK, "warming"];

/// Whether the document says that it is a placeholder.
pub(crate) fn is_marked(root: &Json<'_>) -> bool {
    root.object().and_then(|root| root.get("status")?.text()).is_some_and(|status| MARKS.contains(&status))
}
