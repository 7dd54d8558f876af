//! An object as it comes out of Calico's Go types: read with `encoding/json`, written again.
//!
//! Unknown keys are gone, zero values are dropped or added as the types say, ports and durations are in their canonical
//! text. Also answers whether reading fails, and what a reader that ignores case would have read.

use serde_json::{Map, Number, Value};

use super::findings::{Findings, Stage, shown_typed};
use super::golang;
use super::path::At;
use super::rules::Id;
use super::schema::{Field, Type, Width, Zero};

/// Where reading fails a finding is added at `stage` and the value counts as not given.
pub(super) fn decode(field: &Field, raw: &Value, stage: Stage, out: &mut Findings) -> Value {
    Decoder { stage, out }.value(field, raw, &At::Keys(&[])).0
}

struct Decoder<'a> {
    stage: Stage,
    out: &'a mut Findings,
}

impl Decoder<'_> {
    /// The value, and whether it is Go's zero value.
    fn value(&mut self, field: &Field, raw: &Value, path: &At<'_>) -> (Value, bool) {
        match (&field.ty, raw) {
            (Type::Object(fields), Value::Object(map)) => self.object(fields, map, path),
            (Type::Object(fields), Value::Null) => self.object(fields, &Map::new(), path),
            (Type::List(list), Value::Array(items)) => {
                let items = items
                    .iter()
                    .enumerate()
                    .map(|(i, v)| self.value(&list.item, v, &path.index(i)).0);
                (items.collect(), false)
            }
            (Type::Map, Value::Object(map)) => (self.map(map, path), false),
            (Type::Any, value) => (value.clone(), value.is_null()),
            (Type::List(_) | Type::Map, Value::Null) => (Value::Null, true),
            _ => match scalar(field, raw) {
                Ok(value) => {
                    let zero = is_zero(&value, &field.ty);
                    (value, zero)
                }
                Err(problem) => {
                    self.report(problem, raw, path);
                    (zero(field), true)
                }
            },
        }
    }

    fn report(&mut self, problem: Problem, raw: &Value, path: &At<'_>) {
        let value = shown_typed(raw);
        let (id, message, fix) = match problem {
            Problem::Type(wanted) => (
                Id::WrongType,
                format!("{value} where {wanted} belongs"),
                Some(format!("write {wanted}")),
            ),
            Problem::Range(wanted) => (Id::Range, format!("{value} is not {wanted}"), None),
            Problem::Duration => (
                Id::Duration,
                format!("{value} is not a duration"),
                Some("write it as `90s` or `1m30s`".to_string()),
            ),
            Problem::Port => {
                let fix = "write a port (`80`), a range (`\"100:200\"`, low end first) or a port name";
                (
                    Id::PortForm,
                    format!("{value} is not a port, a range or a port name"),
                    Some(fix.to_string()),
                )
            }
        };
        let finding = self.out.add(self.stage, id, path, message);
        if self.stage == Stage::Unreadable {
            finding.because("Felix cannot decode the object: it goes on as if it had not changed, or did not exist");
        }
        if let Some(fix) = fix {
            finding.fix(fix);
        }
    }

    fn object(&mut self, fields: &[Field], map: &Map<String, Value>, path: &At<'_>) -> (Value, bool) {
        let (mut out, mut all_zero) = (Map::new(), true);
        for field in fields {
            let raw = map.get(field.name).unwrap_or(&Value::Null);
            if raw.is_null() && field.zero != Zero::Always {
                continue;
            }
            let (value, zero) = match (raw, &field.ty) {
                (Value::Null, Type::Object(fields)) => self.object(fields, &Map::new(), path),
                (Value::Null, _) => (zero(field), true),
                _ => self.value(field, raw, &path.key(field.name)),
            };
            // To Go an empty list that was given is not the zero value, yet it is not written.
            let unwritten = match &value {
                Value::Array(items) => items.is_empty(),
                Value::Object(map) if matches!(field.ty, Type::Map) => map.is_empty(),
                _ => zero,
            };
            all_zero &= zero && field.zero != Zero::Kept;
            if field.zero != Zero::Dropped || !unwritten {
                out.insert(field.name.to_string(), value);
            }
        }
        (Value::Object(out), all_zero)
    }

    fn map(&mut self, map: &Map<String, Value>, path: &At<'_>) -> Value {
        let mut out = Map::new();
        for (key, value) in map {
            match value {
                Value::String(_) => out.insert(key.clone(), value.clone()),
                Value::Null => out.insert(key.clone(), Value::String(String::new())),
                _ => {
                    self.report(Problem::Type("text"), value, &path.key(key));
                    None
                }
            };
        }
        Value::Object(out)
    }
}

enum Problem {
    Type(&'static str),
    Range(&'static str),
    Duration,
    Port,
}

fn zero(field: &Field) -> Value {
    match &field.ty {
        Type::Bool => Value::Bool(false),
        Type::Text { .. } => Value::String(String::new()),
        Type::Integer { .. } | Type::Choice(_) | Type::Number | Type::Port | Type::Protocol | Type::Dscp => {
            Value::from(0)
        }
        Type::Duration(_) => Value::String("0s".to_string()),
        Type::Time | Type::Map | Type::List(_) | Type::Any => Value::Null,
        Type::Object(_) => Value::Object(Map::new()),
    }
}

fn is_zero(value: &Value, ty: &Type) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty() || matches!(ty, Type::Duration(_)) && text == "0s",
        Value::Number(number) => number.as_f64() == Some(0.0),
        _ => false,
    }
}

/// A value that is neither list, map nor object. Null is the zero value.
fn scalar(field: &Field, raw: &Value) -> Result<Value, Problem> {
    match (&field.ty, raw) {
        (Type::Duration(_), Value::Null) => Err(Problem::Duration),
        (_, Value::Null) => Ok(zero(field)),
        (Type::Bool, Value::Bool(_)) | (Type::Text { .. }, Value::String(_)) => Ok(raw.clone()),
        (Type::Bool, _) => Err(Problem::Type("true or false")),
        (Type::Text { .. }, _) => Err(Problem::Type("text")),
        (Type::Integer { width, .. }, Value::Number(number)) => integer(*width, number),
        (Type::Choice(_), Value::Number(number)) => integer(Width::I64, number),
        (Type::Integer { .. } | Type::Choice(_), _) => Err(Problem::Type("a whole number")),
        (Type::Number, Value::Number(number)) => Ok(Value::Number(golang::canonical_number(number))),
        (Type::Number, _) => Err(Problem::Type("a number")),
        (Type::Duration(_), Value::String(text)) => match golang::parse_duration(text) {
            Some(nanoseconds) => Ok(Value::String(golang::format_duration(nanoseconds))),
            None => Err(Problem::Duration),
        },
        (Type::Duration(_), _) => Err(Problem::Type("a duration")),
        (Type::Time, Value::String(text)) if golang::is_rfc3339(text) => Ok(raw.clone()),
        (Type::Time, _) => Err(Problem::Type("a time such as `2026-01-02T15:04:05Z`")),
        (Type::Port, Value::String(text)) => golang::port(text).map(golang::Port::into_json).ok_or(Problem::Port),
        (Type::Port, Value::Number(number)) => integer(Width::U16, number).map_err(|_| Problem::Port),
        (Type::Port, _) => Err(Problem::Type("a port")),
        (Type::Protocol | Type::Dscp, Value::String(text)) => {
            Ok(golang::small_number(text).map_or_else(|| raw.clone(), Value::from))
        }
        (Type::Protocol | Type::Dscp, Value::Number(number)) => match number.as_u64() {
            Some(0..=255) => Ok(raw.clone()),
            _ => Err(Problem::Range("a whole number from 0 to 255")),
        },
        (Type::Protocol | Type::Dscp, _) => Err(Problem::Type("a name or a number")),
        (Type::List(_), _) => Err(Problem::Type("a list")),
        (Type::Map | Type::Object(_), _) => Err(Problem::Type("an object")),
        (Type::Any, _) => Ok(raw.clone()),
    }
}

/// Go takes digits only, no fraction and no exponent.
fn integer(width: Width, number: &Number) -> Result<Value, Problem> {
    let (value, wanted) = match width {
        Width::I64 => (number.as_i64(), "a whole number of 64 bits"),
        Width::I32 => (
            number.as_i64().filter(|n| i32::try_from(*n).is_ok()),
            "a whole number of 32 bits",
        ),
        Width::U16 => (
            number.as_i64().filter(|n| u16::try_from(*n).is_ok()),
            "a whole number from 0 to 65535",
        ),
    };
    value.map(Value::from).ok_or(Problem::Range(wanted))
}

/// The object as a reader sees it that ignores the case of keys and turns scalars into text where text belongs, as
/// calicoctl's YAML reader does. Keys are taken in sorted order, so a later spelling overrides an earlier one.
pub(super) fn ignoring_case(field: &Field, raw: &Value) -> Value {
    match (&field.ty, raw) {
        (Type::Object(fields), Value::Object(map)) => {
            let mut out = Map::new();
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            for key in keys {
                let exact = fields.iter().find(|f| f.name == key);
                let Some(inner) = exact.or_else(|| fields.iter().find(|f| golang::same_but_case(f.name, key))) else {
                    continue;
                };
                let value = ignoring_case(inner, &map[key]);
                let merged = match (out.remove(inner.name), value) {
                    (Some(Value::Object(mut before)), Value::Object(more)) => {
                        before.extend(more);
                        Value::Object(before)
                    }
                    (_, value) => value,
                };
                out.insert(inner.name.to_string(), merged);
            }
            Value::Object(out)
        }
        (Type::List(list), Value::Array(items)) => {
            Value::Array(items.iter().map(|item| ignoring_case(&list.item, item)).collect())
        }
        (Type::Text { .. }, Value::Bool(_) | Value::Number(_)) => Value::String(raw.to_string()),
        _ => raw.clone(),
    }
}

/// Keys that are not in the tree, with the exact name where only the case differs.
pub(super) fn unknown_keys(field: &Field, raw: &Value, path: &At<'_>, found: &mut dyn FnMut(&At<'_>, &[Field])) {
    match (&field.ty, raw) {
        (Type::Object(fields), Value::Object(map)) => {
            for (key, value) in map {
                match fields.iter().find(|f| f.name == key) {
                    Some(inner) => unknown_keys(inner, value, &path.key(key), found),
                    None => found(&path.key(key), fields),
                }
            }
        }
        (Type::List(list), Value::Array(items)) => {
            for (i, item) in items.iter().enumerate() {
                unknown_keys(&list.item, item, &path.index(i), found);
            }
        }
        _ => {}
    }
}
