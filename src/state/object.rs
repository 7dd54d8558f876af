//! An object as a state keeps it.
//!
//! A map of `serde_json` takes over 600 bytes however few its entries are, and an object in API shape has four maps and
//! more. Kinds of which a cluster has one for each node are kept as the text of their JSON, a sixth of that, and opened
//! when they are looked at.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::resource::Kind;

/// An object in API shape. Cheap to clone: what it holds is shared.
#[derive(Clone, PartialEq, Eq)]
pub struct Object(Form);

#[derive(Clone, PartialEq, Eq)]
enum Form {
    Open(Arc<Value>),
    Text(Arc<str>),
}

impl Object {
    pub fn new(kind: Kind, value: Value) -> Object {
        Object(match kind {
            // Maps are written in the order of their keys: equal objects are equal texts.
            Kind::Node | Kind::HostEndpoint | Kind::EndpointSlice => Form::Text(Arc::from(value.to_string())),
            _ => Form::Open(Arc::new(value)),
        })
    }

    pub fn open(&self) -> Cow<'_, Value> {
        match &self.0 {
            Form::Open(value) => Cow::Borrowed(value),
            Form::Text(text) => Cow::Owned(serde_json::from_str(text).expect("the text of a value")),
        }
    }

    /// To be kept apart from the state.
    pub fn shared(&self) -> Arc<Value> {
        match &self.0 {
            Form::Open(value) => Arc::clone(value),
            Form::Text(_) => Arc::new(self.open().into_owned()),
        }
    }

    /// Whether the two are one, not only equal.
    pub fn is(&self, other: &Object) -> bool {
        self.place() == other.place()
    }

    /// Where it is kept, for as long as somebody has it.
    pub fn place(&self) -> *const u8 {
        match &self.0 {
            Form::Open(value) => Arc::as_ptr(value).cast(),
            Form::Text(text) => text.as_ptr(),
        }
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.open().serialize(to)
    }
}

impl std::fmt::Debug for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.open().fmt(f)
    }
}
