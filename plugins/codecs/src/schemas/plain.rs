//! Any other key: any JSON value but null.

use crate::answer::{Kind, Rejection};
use crate::mend::Mender;
use crate::tree::Json;

pub(crate) fn read<'a>(root: Json<'a>, _: &mut Mender) -> Result<(Json<'a>, Kind), Rejection> {
    Ok((root, Kind::Real))
}
