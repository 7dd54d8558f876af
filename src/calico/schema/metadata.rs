//! Kubernetes' object metadata.

use super::*;

/// `metadata` of every kind; the Go type behind it keeps these and nothing else.
pub static METADATA: Field = object(
    "metadata",
    &[
        map("annotations"),
        field("creationTimestamp", Type::Time),
        integer("deletionGracePeriodSeconds").kept(),
        field("deletionTimestamp", Type::Time).kept(),
        list("finalizers", &FINALIZERS),
        text("generateName"),
        integer("generation"),
        map("labels"),
        list("managedFields", &MANAGED_FIELDS),
        text("name"),
        text("namespace"),
        list("ownerReferences", &OWNERS),
        text("resourceVersion"),
        text("selfLink"),
        text("uid"),
    ],
);

static FINALIZERS: List = set_of(text(""));

static OWNERS: List = List {
    kind: ListKind::Map("uid"),
    least: 0,
    most: usize::MAX,
    item: object(
        "",
        &[
            text("apiVersion").required().always(),
            flag("blockOwnerDeletion").kept(),
            flag("controller").kept(),
            text("kind").required().always(),
            text("name").required().always(),
            text("uid").required().always(),
        ],
    ),
};

static MANAGED_FIELDS: List = list_of(object(
    "",
    &[
        text("apiVersion"),
        text("fieldsType"),
        field("fieldsV1", Type::Any),
        text("manager"),
        text("operation"),
        text("subresource"),
        field("time", Type::Time).kept(),
    ],
));

/// The fields every kind starts with; `metadata` is required by the CRD.
pub(super) const fn top_level_metadata() -> Field {
    Field {
        name: "metadata",
        ty: match &METADATA.ty {
            Type::Object(fields) => Type::Object(fields),
            _ => Type::Any,
        },
        required: true,
        default: None,
        zero: Zero::Always,
        check: Check::None,
    }
}
