use super::*;
use crate::cli::Explain;
pub(super) fn run(_a: &Explain, _c: &mut dyn Console) -> Result<u8, Failure> {
    Ok(0)
}
