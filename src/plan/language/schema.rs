//! The table as a JSON Schema (draft 2020-12), for editors.
//!
//! It can say less than `check`: references, networks and Calico's own rules stay with that.

use serde_json::{Map, Value, json};

use super::{Form, Object, PLAN, Type};

/// The schema of a whole plan document.
pub fn schema() -> Value {
    let mut schema = object(&PLAN);
    let head = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://hostguard.dev/schema/v1alpha1.json",
        "title": "hostguard plan",
    });
    if let (Value::Object(schema), Value::Object(head)) = (&mut schema, head) {
        schema.extend(head);
    }
    schema
}

fn object(object: &Object) -> Value {
    let mut properties = Map::new();
    for field in object.fields {
        let mut property = of(&field.ty);
        if let Value::Object(property) = &mut property {
            property.insert("description".into(), json!(field.doc));
        }
        properties.insert(field.name.into(), property);
    }
    let required: Vec<&str> = object
        .fields
        .iter()
        .filter(|field| field.required)
        .map(|field| field.name)
        .collect();
    let mut schema = json!({ "type": "object", "additionalProperties": false, "properties": properties });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    let ways: Vec<Value> = object
        .choice
        .iter()
        .map(|choice| {
            let others = object
                .choice
                .iter()
                .flat_map(|other| other.needs.iter().chain(other.may));
            let others = others.filter(|name| !choice.needs.contains(name) && !choice.may.contains(name));
            let refused: Map<String, Value> = others.map(|name| (name.to_string(), json!(false))).collect();
            json!({ "required": choice.needs, "properties": refused })
        })
        .collect();
    if !ways.is_empty() {
        schema["anyOf"] = json!(ways);
    }
    schema
}

/// `${name}` as the whole value.
const FILLED: &str = "^\\$\\{[A-Za-z][-A-Za-z0-9_]*\\}$";

fn or_filled(schema: Value) -> Value {
    json!({ "anyOf": [schema, { "type": "string", "pattern": FILLED }] })
}

fn text(pattern: &str) -> Value {
    or_filled(json!({ "type": "string", "pattern": pattern }))
}

fn of(ty: &Type) -> Value {
    match ty {
        Type::Text | Type::Ref(_) | Type::LabelValue => json!({ "type": "string" }),
        Type::Word(words) | Type::Switch(words) => match words {
            [one] => json!({ "const": one }),
            _ => or_filled(json!({ "enum": words })),
        },
        Type::True => json!({ "const": true }),
        Type::Integer(min, max) => or_filled(json!({ "type": "integer", "minimum": min, "maximum": max })),
        Type::Number => or_filled(json!({ "type": "number" })),
        Type::Name(form) => text(form.pattern()),
        Type::Cidr => text("^[0-9A-Fa-f.:]+/[0-9]{1,3}$"),
        Type::From => text("^(internet|others|node/[-a-z0-9.]+|[0-9A-Fa-f.:]+/[0-9]{1,3})$"),
        Type::Either(scalar, inner) => json!({ "anyOf": [of(scalar), object(inner)] }),
        Type::PortOrName => or_filled(json!({ "anyOf": [
            { "type": "integer", "minimum": 1, "maximum": 65535 },
            { "type": "string", "pattern": Form::Port.pattern() },
        ]})),
        Type::ProtocolPort => text("^(tcp|udp|sctp)/[1-9][0-9]{0,4}$"),
        Type::Workload => text("^(deployment|statefulset|daemonset)/[-a-z0-9.]+$"),
        Type::Date => text("^[0-9]{4}-[0-9]{2}-[0-9]{2}$"),
        Type::NamespacedName => text("^[-a-z0-9]+/[-a-z0-9]+$"),
        Type::Default => json!({ "type": ["string", "integer", "array"], "items": { "type": "string" } }),
        Type::Any => json!({ "type": "object" }),
        Type::Object(inner) => object(inner),
        Type::List(item, min) => {
            let mut list = json!({ "type": "array", "items": of(item) });
            if *min > 0 {
                list["minItems"] = json!(min);
            }
            if item.is_scalar() { or_filled(list) } else { list }
        }
        Type::Map(form, value) => json!({
            "type": "object",
            "propertyNames": { "pattern": form.pattern() },
            "additionalProperties": of(value),
        }),
        Type::Labels => json!({
            "type": "object",
            "propertyNames": { "pattern": "^([-a-z0-9.]+/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$" },
            "additionalProperties": { "type": "string" },
        }),
    }
}
