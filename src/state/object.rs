//! An object as a state keeps it.
//!
//! A map of `serde_json` takes over 600 bytes however few its entries are, and an object in API shape has four maps and
//! more. Kinds of which a cluster has one for each node are kept as the text of their JSON, a sixth of that, and opened
//! when they are looked at; those that a step changes stay open.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::Pod;
use crate::resource::{Key, Kind};

/// An object in API shape. Cheap to clone: what it holds is shared.
#[derive(Clone)]
pub struct Object {
    form: Form,
    version: u64,
}

#[derive(Clone)]
enum Form {
    Open(Arc<Value>),
    Text(Arc<Text>),
}

/// Closed, and open too once somebody keeps it open.
struct Text {
    json: Box<str>,
    open: OnceLock<Arc<Value>>,
}

impl Text {
    fn parse(&self) -> Value {
        serde_json::from_str(&self.json).expect("the text of a value")
    }
}

impl Object {
    pub fn new(kind: Kind, value: Value) -> Object {
        let version = value.pointer("/metadata/resourceVersion").and_then(Value::as_str);
        let version = version.and_then(|text| text.parse().ok()).unwrap_or(0);
        let form = match kind {
            // Maps are written in the order of their keys: equal objects are equal texts.
            Kind::Node | Kind::HostEndpoint | Kind::EndpointSlice => Form::Text(Arc::new(Text {
                json: value.to_string().into(),
                open: OnceLock::new(),
            })),
            _ => Form::Open(Arc::new(value)),
        };
        Object { form, version }
    }

    /// The number of its version; 0 where it has none that is a number.
    pub fn version(&self) -> u64 {
        self.version
    }

    pub fn open(&self) -> Cow<'_, Value> {
        match &self.form {
            Form::Open(value) => Cow::Borrowed(value),
            Form::Text(text) => match text.open.get() {
                Some(value) => Cow::Borrowed(value),
                None => Cow::Owned(text.parse()),
            },
        }
    }

    /// To be kept: from now on it is open for everybody.
    pub fn shared(&self) -> Arc<Value> {
        self.stay_open(self.open())
    }

    /// The same with what [`Object::open`] gave.
    pub fn stay_open(&self, opened: Cow<'_, Value>) -> Arc<Value> {
        match &self.form {
            Form::Open(value) => Arc::clone(value),
            Form::Text(text) => Arc::clone(text.open.get_or_init(|| Arc::new(opened.into_owned()))),
        }
    }

    /// Whether the two are one, not only equal.
    pub fn is(&self, other: &Object) -> bool {
        self.place() == other.place()
    }

    /// Where it is kept, for as long as somebody has it.
    pub fn place(&self) -> *const u8 {
        match &self.form {
            Form::Open(value) => Arc::as_ptr(value).cast(),
            Form::Text(text) => Arc::as_ptr(text).cast(),
        }
    }
}

impl PartialEq for Object {
    fn eq(&self, other: &Object) -> bool {
        self.is(other)
            || match (&self.form, &other.form) {
                (Form::Open(a), Form::Open(b)) => a == b,
                (Form::Text(a), Form::Text(b)) => a.json == b.json,
                _ => false,
            }
    }
}

/// Any object of a state, pods among them; put into API shape when it is looked at.
#[derive(Clone, Copy, Debug)]
pub enum Whole<'a> {
    Object(&'a Object),
    Pod(&'a Key, &'a Pod),
}

impl<'a> Whole<'a> {
    pub fn open(self) -> Cow<'a, Value> {
        match self {
            Whole::Object(object) => object.open(),
            Whole::Pod(key, pod) => Cow::Owned(pod.object(key)),
        }
    }
}

impl Serialize for Whole<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.open().serialize(to)
    }
}

impl std::fmt::Debug for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.open().fmt(f)
    }
}
