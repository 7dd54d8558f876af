//! `hostguard schema`: JSON Schemas of what people write and of what machines read.

use super::{Console, Failure};
use crate::cli::{Schema, SchemaOf};
use crate::plan;
use crate::render::diff::DIFF_SCHEMA;
use crate::render::history::HISTORY_SCHEMA;
use crate::render::{ANSWER_SCHEMA, CHANGE_SET_SCHEMA, CHECK_SCHEMA, EXPOSURE_SCHEMA, WHY_SCHEMA};

pub(super) fn run(args: &Schema, console: &mut dyn Console) -> Result<u8, Failure> {
    match args.of {
        SchemaOf::Plan => {
            let text = serde_json::to_string_pretty(&plan::schema()).expect("a schema is plain data");
            console.answer(&format!("{text}\n"));
        }
        SchemaOf::Answer => console.answer(ANSWER_SCHEMA),
        SchemaOf::Exposure => console.answer(EXPOSURE_SCHEMA),
        SchemaOf::Why => console.answer(WHY_SCHEMA),
        SchemaOf::Check => console.answer(CHECK_SCHEMA),
        SchemaOf::Diff => console.answer(DIFF_SCHEMA),
        SchemaOf::History => console.answer(HISTORY_SCHEMA),
        SchemaOf::ChangeSet => console.answer(CHANGE_SET_SCHEMA),
    }
    Ok(0)
}
