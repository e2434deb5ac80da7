//! From bytes to text: what the store's flags and the first bytes tell before anything is parsed.

use crate::answer::Rejection;
use crate::mend::Mender;

/// Client flag of a Python pickle. The flags are bits: clients add them up.
const PICKLE: u32 = 1;

/// Client flag of a compressed value.
const COMPRESSED: u32 = 8;

/// The first byte of every pickle since protocol 2. No UTF-8 text starts with it.
const PICKLE_OPCODE: u8 = 0x80;

/// The text of a payload. A pickle is recognised and never read: reading one runs code (B16).
pub(crate) fn text<'p>(payload: &'p [u8], flags: u32, mend: &mut Mender) -> Result<&'p str, Rejection> {
    if flags & PICKLE != 0 || payload.first() == Some(&PICKLE_OPCODE) {
        return Err(Rejection::whole(
            "python-pickle",
            "the value is a Python pickle, which is never read; write JSON instead",
        ));
    }
    if flags & COMPRESSED != 0 {
        return Err(Rejection::whole("compressed", "the client compressed the value; write plain JSON instead"));
    }
    let text = std::str::from_utf8(payload).map_err(|error| {
        let offset = error.valid_up_to();
        Rejection::whole("invalid-utf8", format!("byte {offset} is not UTF-8; write JSON in UTF-8"))
    })?;
    match text.strip_prefix('\u{feff}') {
        None => Ok(text),
        Some(rest) => {
            mend.repaired("byte-order-mark", "$", "a byte order mark stood before the document");
            Ok(rest)
        }
    }
}
