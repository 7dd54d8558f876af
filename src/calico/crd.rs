//! What a kube-apiserver does with an object by its CRD: drop nulls, fill in defaults, check the schema.
//!
//! Rules about several fields at once are in `cross.rs`.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::findings::{Findings, Stage, shown, shown_typed};
use super::format::fits;
use super::golang::canonical_number;
use super::path::At;
use super::rules::Id;
use super::schema::{Field, Form, List, ListKind, Type};

/// The object without unknown keys and nulls, with defaults (`k8s.io/apiextensions-apiserver/pkg/apiserver/schema`
/// pruning and defaulting). Metadata is left alone, as there.
pub(super) fn admitted(field: &Field, raw: &Value) -> Value {
    let mut out = pruned(field, raw);
    if let (Some(map), Some(metadata)) = (out.as_object_mut(), raw.get("metadata").filter(|m| !m.is_null())) {
        map.insert("metadata".to_string(), metadata.clone());
    }
    out
}

fn pruned(field: &Field, raw: &Value) -> Value {
    match (&field.ty, raw) {
        (Type::Object(fields), Value::Object(map)) => {
            let mut out = Map::new();
            for field in *fields {
                let value = map.get(field.name).filter(|v| !v.is_null());
                let value = value.map(|v| pruned(field, v)).or(field.default.map(Value::from));
                out.extend(value.map(|v| (field.name.to_string(), v)));
            }
            Value::Object(out)
        }
        (Type::Map, Value::Object(map)) => map
            .iter()
            .filter(|(_, v)| !v.is_null())
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect(),
        (Type::List(list), Value::Array(items)) => items.iter().map(|item| pruned(&list.item, item)).collect(),
        _ => raw.clone(),
    }
}

/// As a kube-apiserver stores it: whole numbers lose their fraction, so that `80.0` comes back as `80`.
pub(super) fn stored(value: &Value) -> Cow<'_, Value> {
    match has_fractions(value) {
        false => Cow::Borrowed(value), // almost all
        true => Cow::Owned(without_fractions(value)),
    }
}

fn without_fractions(value: &Value) -> Value {
    match value {
        Value::Number(number) if number.is_f64() => Value::Number(canonical_number(number)),
        Value::Array(items) => items.iter().map(without_fractions).collect(),
        Value::Object(map) => map.iter().map(|(k, v)| (k.clone(), without_fractions(v))).collect(),
        other => other.clone(),
    }
}

fn has_fractions(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(items) => items.iter().any(has_fractions),
        Value::Object(map) => map.values().any(has_fractions),
        _ => false,
    }
}

/// Checks an admitted object. `sets` asks for repeats in sets too, which Calico's own copy of this check leaves out.
pub(super) fn check(field: &Field, value: &Value, path: &At<'_>, stage: Stage, sets: bool, out: &mut Findings) {
    Checker { stage, sets, out }.value(field, value, path);
}

struct Checker<'a> {
    stage: Stage,
    sets: bool,
    out: &'a mut Findings,
}

impl Checker<'_> {
    fn value(&mut self, field: &Field, value: &Value, path: &At<'_>) {
        match (&field.ty, value) {
            (Type::Object(fields), Value::Object(map)) => self.object(fields, map, path),
            (Type::List(list), Value::Array(items)) => self.list(list, items, path),
            (Type::Map, Value::Object(map)) => {
                for (key, value) in map {
                    if !value.is_string() {
                        self.wrong_type(value, "text", &path.key(key));
                    }
                }
            }
            (Type::Text { longest, form }, Value::String(text)) => self.text(*longest, *form, text, path),
            (Type::Duration(form), Value::String(text)) => self.text(None, *form, text, path),
            (Type::Integer { least, most, .. }, Value::Number(_)) if is_whole(value) => {
                self.range(value, *least, *most, path);
            }
            (Type::Choice(allowed), Value::Number(_)) if is_whole(value) => self.choice(allowed, value, path),
            (Type::Port | Type::Protocol | Type::Dscp, Value::Number(_)) if is_whole(value) => {}
            (Type::Port | Type::Protocol | Type::Dscp | Type::Time, Value::String(_)) => {}
            (Type::Bool, Value::Bool(_)) | (Type::Number, Value::Number(_)) | (Type::Any, _) => {}
            (ty, _) => self.wrong_type(value, wanted(ty), path),
        }
    }

    fn wrong_type(&mut self, value: &Value, wanted: &str, path: &At<'_>) {
        let message = format!("{} where {wanted} belongs", shown_typed(value));
        self.out
            .add(self.stage, Id::WrongType, path, message)
            .fix(format!("write {wanted}"));
    }

    fn object(&mut self, fields: &[Field], map: &Map<String, Value>, path: &At<'_>) {
        for field in fields {
            match map.get(field.name) {
                // The CRDs say no more of metadata than that it is an object.
                Some(value) if field.name == "metadata" && path.is_root() && value.is_object() => {}
                Some(value) if field.name == "metadata" && path.is_root() => {
                    self.wrong_type(value, "an object", &path.key("metadata"));
                }
                Some(value) => self.value(field, value, &path.key(field.name)),
                None if field.required => {
                    let message = format!("`{}` is missing", field.name);
                    self.out
                        .add(self.stage, Id::Missing, path, message)
                        .fix(format!("add `{}`", field.name));
                }
                None => {}
            }
        }
    }

    fn list(&mut self, list: &List, items: &[Value], path: &At<'_>) {
        if items.len() > list.most || items.len() < list.least {
            let message = match items.len() > list.most {
                true => format!("{} entries where at most {} are allowed", items.len(), list.most),
                false => format!("{} entries where at least {} is needed", items.len(), list.least),
            };
            self.out.add(self.stage, Id::ListSize, path, message);
        }
        for (i, item) in items.iter().enumerate() {
            self.value(&list.item, item, &path.index(i));
        }
        let key = |item: &Value| match list.kind {
            ListKind::Atomic => None,
            ListKind::Set => Some(item.to_string()),
            ListKind::Map(key) => item.get(key).map(Value::to_string),
        };
        let mut seen = BTreeSet::new();
        for (i, item) in items.iter().enumerate() {
            if self.sets
                && let Some(key) = key(item)
                && !seen.insert(key)
            {
                let message = format!("{} is listed twice", shown(item));
                self.out
                    .add(self.stage, Id::Repeated, &path.index(i), message)
                    .fix("remove the repeat");
            }
        }
    }

    fn text(&mut self, longest: Option<usize>, form: Form, text: &str, path: &At<'_>) {
        // The limit counts characters.
        if let Some(longest) = longest
            && text.chars().count() > longest
        {
            let message = format!(
                "{} characters where at most {longest} are allowed",
                text.chars().count()
            );
            self.out.add(self.stage, Id::TooLong, path, message);
        }
        if !fits(form, text) {
            let message = format!("{} is not allowed here", shown(&Value::from(text)));
            let finding = self.out.add(self.stage, Id::Value, path, message);
            if let Some(fix) = form_fix(form, text) {
                finding.fix(fix);
            }
        }
    }

    fn choice(&mut self, allowed: &[i64], value: &Value, path: &At<'_>) {
        if !allowed.iter().any(|n| value.as_f64() == Some(*n as f64)) {
            let listed = allowed.iter().map(i64::to_string).collect::<Vec<_>>().join(" or ");
            let message = format!("{} is not {listed}", shown(value));
            self.out
                .add(self.stage, Id::Value, path, message)
                .fix(format!("write {listed}"));
        }
    }

    fn range(&mut self, value: &Value, least: i64, most: i64, path: &At<'_>) {
        let inside = value
            .as_f64()
            .is_some_and(|n| (least as f64..=most as f64).contains(&n));
        if !inside {
            let message = format!("{} is not {}", shown(value), range_text(least, most));
            self.out.add(self.stage, Id::Range, path, message);
        }
    }
}

/// `from 1 to 65535`, `1 or more`.
pub(super) fn range_text(least: i64, most: i64) -> String {
    match (least, most) {
        (_, i64::MAX) => format!("{least} or more"),
        _ => format!("from {least} to {most}"),
    }
}

/// `80`, and also `80.0` and `8e1`.
///
/// Beyond 64 bits a number is a float to Kubernetes, and a float counts up to 2^53 and within one part in a thousand
/// million (`github.com/go-openapi/swag` IsFloat64AJSONInteger).
fn is_whole(value: &Value) -> bool {
    let float =
        |f: f64| f.abs() < 9_007_199_254_740_992.0 && (f.fract() == 0.0 || f.fract().abs() / (2.0 * f.abs()) < 1e-9);
    value.is_i64() || value.as_f64().is_some_and(float)
}

fn wanted(ty: &Type) -> &'static str {
    match ty {
        Type::Bool => "true or false",
        Type::Text { .. } => "text",
        Type::Integer { .. } | Type::Choice(_) => "a whole number",
        Type::Number => "a number",
        Type::Duration(_) => "a duration",
        Type::Port => "a port",
        Type::Protocol | Type::Dscp => "a name or a number",
        Type::Time => "a time such as `2026-01-02T15:04:05Z`",
        Type::Map | Type::Object(_) => "an object",
        Type::List(_) => "a list",
        Type::Any => "a value",
    }
}

fn form_fix(form: Form, text: &str) -> Option<String> {
    let listed = |values: &[&str]| {
        let near = values.iter().find(|v| v.eq_ignore_ascii_case(text));
        let score = |value: &str| strsim::jaro_winkler(&value.to_lowercase(), &text.to_lowercase());
        let closest = values.iter().max_by(|a, b| score(a).total_cmp(&score(b)));
        match near.or(closest.filter(|v| score(v) > 0.8)) {
            Some(value) => format!("write `{value}`"),
            None => format!(
                "write one of {}",
                values.iter().map(|v| format!("`{v}`")).collect::<Vec<_>>().join(", ")
            ),
        }
    };
    Some(match form {
        Form::OneOf(values) | Form::AnyCase(values) => listed(values),
        Form::Duration => "write whole hours, minutes, seconds or milliseconds, such as `1m30s`".to_string(),
        Form::PlainDuration => "write hours, minutes, seconds or milliseconds, such as `1m30s`".to_string(),
        Form::ConntrackTimeout => "write a duration such as `20s`, or `Auto`".to_string(),
        Form::FeatureOverrides => "write `Name=true,Other=false`".to_string(),
        Form::FeatureGates => "write `Name=value,Other=value`".to_string(),
        Form::RateLimit => "write a count and a unit, such as `10/minute`".to_string(),
        Form::LogPrefix => "use letters, digits, blanks and `%:/_-`".to_string(),
        Form::ConditionReason | Form::ConditionType | Form::Any => return None,
    })
}
