//! The table of gates and waivers: how serious findings are, what else must hold, and what is let through for a while.

use super::table::{optional, required};
use super::{Form, Object, Type};

const LEVEL: Type = Type::Word(&["off", "note", "warning", "error"]);

pub(super) static GATES: Object = Object {
    noun: "gates",
    choice: &[],
    fields: &[
        optional(
            "levels",
            Type::Map(Form::Code, &LEVEL),
            "How serious a finding of a code is. An error keeps the plan from being applied (exit 3). Lock-out and exposure \
             on the way have no level: they are always refused.",
            "{ HG1001: error }",
        ),
        optional(
            "rules",
            Type::Map(Form::Label, &Type::Object(&RULE)),
            "Rules of your own about the answer, by name.",
            "{ few-deletions: { expression: answer.summary.delete <= 2, message: too many deletions } }",
        ),
    ],
};

static RULE: Object = Object {
    noun: "a rule",
    choice: &[],
    fields: &[
        required(
            "expression",
            Type::Text,
            "What must hold, in the Common Expression Language (CEL), about `answer`: the document of `plan -o json`, as \
             `hostguard schema answer` describes it. At most 1,000 bytes; no regular expressions, no times.",
            "answer.exposure.all(row, row.movement != 'opens' || row.service != null)",
        ),
        required(
            "message",
            Type::Text,
            "What is said when it does not hold.",
            "only services may open",
        ),
        optional(
            "level",
            LEVEL,
            "How serious that is. `error` when not written.",
            "warning",
        ),
    ],
};

pub(super) static WAIVER: Object = Object {
    noun: "a waiver",
    choice: &[],
    fields: &[
        required("code", Type::Name(Form::Code), "The code of the finding.", "HG1001"),
        required(
            "subject",
            Type::Text,
            "What the finding is about, exactly as it is printed. One waiver lets through one subject.",
            "tcp/30080",
        ),
        required(
            "reason",
            Type::Text,
            "Why it is let through; printed in every answer.",
            "public shop front",
        ),
        required(
            "owner",
            Type::Text,
            "Who answers for it; printed in every answer.",
            "team-shop",
        ),
        required(
            "expires",
            Type::Date,
            "The last day on which it counts (UTC). After that the waiver itself is an error.",
            "2026-12-31",
        ),
    ],
};
