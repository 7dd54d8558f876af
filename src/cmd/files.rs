use super::prepare::Intent;
use super::*;
use crate::cli::Inputs;
use crate::plan::Plan;
use crate::source::Source;
pub(super) struct Loaded {
    pub source: Source,
}
impl Loaded {
    pub fn check(&self, _l: Option<&std::collections::BTreeMap<String, String>>) -> Result<Plan, Failure> {
        todo!()
    }
}
pub(super) fn load(_p: &str, _i: &Inputs) -> Result<Loaded, Failure> {
    todo!()
}
pub(super) fn show_warnings(_i: &Intent, _p: &Plan, _c: &mut dyn Console) {}
pub(super) fn nothing_of(_f: &str) -> Result<Intent, Failure> {
    todo!()
}
