//! The table as help: what may stand at a path such as `spec.nodes.*.pick`.

use std::fmt::Write;

use super::{Field, Object, PLAN, Type, nearest, one_of};

/// The help for a field, or why there is none.
pub fn field_help(path: &str) -> Result<String, String> {
    let mut at = Here {
        ty: None,
        field: None,
        object: Some(&PLAN),
        path: String::new(),
    };
    for key in path.split('.').filter(|key| !key.is_empty()) {
        at = at.step(key)?;
    }
    Ok(at.text())
}

/// Every path that has help, in the order of the table.
pub fn field_paths() -> Vec<String> {
    fn walk(object: &'static Object, prefix: &str, paths: &mut Vec<String>) {
        for field in object.fields {
            let path = if prefix.is_empty() {
                field.name.to_string()
            } else {
                format!("{prefix}.{}", field.name)
            };
            paths.push(path.clone());
            let (below, object) = inside(&field.ty, path);
            if let Some(object) = object {
                walk(object, &below, paths);
            }
        }
    }
    let mut paths = Vec::new();
    walk(&PLAN, "", &mut paths);
    paths
}

/// The object reached through maps (`*`) and lists (nothing), and the path that leads there.
fn inside(ty: &'static Type, path: String) -> (String, Option<&'static Object>) {
    match ty {
        Type::Object(object) | Type::Either(_, object) => (path, Some(object)),
        Type::List(item, _) => inside(item, path),
        Type::Map(_, value) => inside(value, path + ".*"),
        _ => (path, None),
    }
}

struct Here {
    ty: Option<&'static Type>,
    field: Option<&'static Field>,
    object: Option<&'static Object>,
    path: String,
}

impl Here {
    fn step(self, key: &str) -> Result<Here, String> {
        let path = if self.path.is_empty() {
            key.to_string()
        } else {
            format!("{}.{key}", self.path)
        };
        if let Some(Type::Map(_, value)) = self.ty {
            let (_, object) = inside(value, String::new());
            let entry = Here {
                ty: Some(value),
                field: self.field,
                object,
                path: format!("{}.*", self.path),
            };
            // Somebody who leaves out the name asks for a field of whatever has one.
            return match object.and_then(|object| object.field(key)) {
                Some(_) => entry.step(key),
                None => Ok(entry),
            };
        }
        let Some(object) = self.object else {
            return Err(format!("`{}` has no fields of its own", self.path));
        };
        match object.field(key) {
            Some(field) => {
                let through = if let Type::List(item, _) = &field.ty {
                    item
                } else {
                    &field.ty
                };
                let object = match through {
                    Type::Object(object) | Type::Either(_, object) => Some(*object),
                    _ => None,
                };
                Ok(Here {
                    ty: Some(&field.ty),
                    field: Some(field),
                    object,
                    path,
                })
            }
            None => {
                let names: Vec<&str> = object.fields.iter().map(|field| field.name).collect();
                let meant = nearest(key, names.iter().copied());
                let hint = meant.map_or(format!("there is {}", one_of(&names)), |meant| {
                    format!("did you mean `{meant}`?")
                });
                Err(format!("unknown field `{key}` in {}: {hint}", object.noun))
            }
        }
    }

    fn text(&self) -> String {
        let mut out = String::new();
        let path = if self.path.is_empty() { "the plan" } else { &self.path };
        let _ = writeln!(out, "{path}");
        if let Some(field) = self.field {
            let named =
                matches!((&field.ty, self.ty), (Type::Map(_, value), Some(ty)) if std::ptr::eq::<Type>(*value, ty));
            let ty = if named { self.ty.unwrap_or(&field.ty) } else { &field.ty };
            out.push('\n');
            wrapped(&mut out, "  ", field.doc);
            out.push('\n');
            wrapped(&mut out, "  type:     ", &ty.expects());
            wrapped(&mut out, "  required: ", if field.required { "yes" } else { "no" });
            wrapped(&mut out, "  example:  ", &format!("{}: {}", field.name, field.example));
        }
        let map_value = match self.ty {
            Some(Type::Map(_, value)) => inside(value, String::new()).1,
            _ => None,
        };
        if let Some(object) = self.object.or(map_value) {
            fields(&mut out, object);
        }
        out
    }
}

/// What an object has, and how it can be written.
fn fields(out: &mut String, object: &Object) {
    let _ = writeln!(out, "\n{} has:", object.noun);
    let width = object.fields.iter().map(|field| field.name.len()).max().unwrap_or(0);
    for field in object.fields {
        let mark = if field.required { "Required. " } else { "" };
        let summary = field.doc.split_inclusive(". ").next().unwrap_or_default();
        wrapped(
            out,
            &format!("  {:width$}  ", field.name),
            &format!("{mark}{}", summary.trim_end()),
        );
    }
    let ways: Vec<String> = object.choice.iter().map(|choice| choice.needs.join(" with ")).collect();
    let ways: Vec<&str> = ways.iter().map(String::as_str).filter(|way| !way.is_empty()).collect();
    if !ways.is_empty() {
        out.push('\n');
        wrapped(
            out,
            "",
            &format!("It is written in one of these ways: {}.", ways.join("; ")),
        );
    }
}

/// 80 columns; what follows the first line stands below the text.
fn wrapped(out: &mut String, prefix: &str, text: &str) {
    let indent = " ".repeat(prefix.chars().count());
    let mut line = prefix.to_string();
    let mut empty = true;
    for word in text.split_whitespace() {
        if !empty && line.chars().count() + 1 + word.chars().count() > 80 {
            let _ = writeln!(out, "{line}");
            line.clone_from(&indent);
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    let _ = writeln!(out, "{}", line.trim_end());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_help_with_an_example() {
        for path in field_paths() {
            let help = field_help(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
            assert!(help.contains("example:") && help.contains("type:"), "{help}");
            assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
        }
    }

    #[test]
    fn an_unknown_path_names_what_was_meant() {
        assert_eq!(
            field_help("spec.nods").unwrap_err(),
            "unknown field `nods` in a plan's spec: did you mean `nodes`?"
        );
        assert_eq!(
            field_help("spec.nodes.x.all.b").unwrap_err(),
            "`spec.nodes.*.all` has no fields of its own"
        );
        assert!(field_help("spec.nodes.guarded.pick.count").is_ok());
        let guard = field_help("spec.policies.guard").expect("a field of a policy");
        assert!(
            guard.starts_with("spec.policies.*.guard\n") && guard.contains("allowOnly"),
            "{guard}"
        );
    }
}
