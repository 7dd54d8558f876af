//! `${name}` replaced by the values of inputs, over a marked tree.
//!
//! A whole scalar takes the value with its type; only inputs of type string may stand inside a longer text. What cannot
//! be filled in is reported and marked bad, so that no placeholder goes further. Knows nothing of fields.

use std::collections::BTreeMap;

use crate::error::{Diagnostic, codes};
use crate::plan::inputs::{Resolved, host};
use crate::plan::language::{Form, InputType, nearest};
use crate::plan::node::{Entry, Kind, Node, Style};
use crate::source::Span;

type Values = BTreeMap<String, Option<Resolved>>;

pub(super) struct Filled {
    pub ty: InputType,
    pub values: Vec<String>,
}

/// The names used in a text, well-formed or not.
pub(super) fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split("${")
        .skip(1)
        .filter_map(|rest| rest.split_once('}').map(|(name, _)| name.trim()))
}

/// Lists of Calico's objects whose items are networks.
const NETWORK_LISTS: [&str; 3] = ["nets", "notNets", "interfaceCIDRs"];

/// Fills in a tree; `key` is the nearest key above it.
pub(super) fn tree(node: &Node, key: &str, values: &Values, problems: &mut Vec<Diagnostic>) -> Node {
    let kind = match &node.kind {
        Kind::Map(entries) => Kind::Map(
            entries
                .iter()
                .map(|entry| Entry {
                    value: tree(&entry.value, &entry.key.value, values, problems),
                    ..entry.clone()
                })
                .collect(),
        ),
        Kind::Seq(items) => {
            let mut filled = Vec::new();
            for item in items {
                let node = tree(item, key, values, problems);
                match node.kind {
                    // A list of networks takes the place of the item that named it.
                    Kind::Seq(parts) if item.text().is_some() => filled.extend(parts),
                    _ => filled.push(node),
                }
            }
            Kind::Seq(filled)
        }
        Kind::Scalar { text, style } if text.contains("${") && !matches!(style, Style::Filled(_)) => {
            match scalar(text, node.span, values, false) {
                Ok(filled) => place(filled, node, key),
                Err(problem) => {
                    problems.extend(problem.map(|problem| *problem));
                    Kind::Bad
                }
            }
        }
        other => other.clone(),
    };
    Node {
        span: node.span,
        kind,
        via_alias: node.via_alias,
    }
}

fn place(filled: Filled, node: &Node, key: &str) -> Kind {
    let network = filled.ty == InputType::Ip && NETWORK_LISTS.iter().any(|list| list.eq_ignore_ascii_case(key));
    let one = |text: String| {
        let text = if network { host(&text) } else { text };
        Kind::Scalar {
            text,
            style: Style::Filled(filled.ty),
        }
    };
    if filled.ty != InputType::Cidrs {
        return one(filled.values.into_iter().next().unwrap_or_default());
    }
    let parts = filled.values.into_iter().map(|text| Node {
        span: node.span,
        kind: one(text),
        via_alias: node.via_alias,
    });
    Kind::Seq(parts.collect())
}

/// One scalar; `Err(None)` where the mistake was reported already. `any_part`: inputs of every type may be parts of it.
pub(super) fn scalar(
    text: &str,
    span: Span,
    values: &Values,
    any_part: bool,
) -> Result<Filled, Option<Box<Diagnostic>>> {
    let whole = text
        .strip_prefix("${")
        .and_then(|rest| rest.strip_suffix('}'))
        .filter(|name| !name.contains("${"));
    if let Some(name) = whole.filter(|name| Form::Input.accepts(name)) {
        let resolved = lookup(name, span, values)?;
        return Ok(Filled {
            ty: resolved.ty,
            values: resolved.values.clone(),
        });
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let name = after.split_once('}').filter(|(name, _)| Form::Input.accepts(name));
        let Some((name, after)) = name else {
            let shown = after
                .split_once('}')
                .map_or("${", |(name, _)| &rest[before.len()..before.len() + name.len() + 3]);
            let message = format!("`{shown}` is not a placeholder that can be filled in");
            let problem = Diagnostic::error(codes::LEFTOVER, span, message, "left over");
            return Err(Some(Box::new(problem.fix("write `${name}` with the name of an input"))));
        };
        let resolved = lookup(name, span, values)?;
        if resolved.ty != InputType::String && !(any_part && resolved.values.len() == 1) {
            let message = format!(
                "`${{{name}}}` is of type {} and cannot be a part of `{text}`",
                resolved.ty.word()
            );
            let problem = Diagnostic::error(codes::INPUT_MISFIT, span, message, "only a string can");
            return Err(Some(Box::new(
                problem.fix(format!("write `${{{name}}}` alone, or make it `type: string`")),
            )));
        }
        out.push_str(before);
        out.push_str(&resolved.values.concat());
        rest = after;
    }
    out.push_str(rest);
    Ok(Filled {
        ty: InputType::String,
        values: vec![out],
    })
}

fn lookup<'v>(name: &str, span: Span, values: &'v Values) -> Result<&'v Resolved, Option<Box<Diagnostic>>> {
    match values.get(name) {
        Some(Some(resolved)) => Ok(resolved),
        Some(None) => Err(None),
        None => {
            let meant = nearest(name, values.keys().map(String::as_str));
            let label = meant.map_or("not declared under `inputs`".to_string(), |meant| {
                format!("did you mean `{meant}`?")
            });
            let problem = Diagnostic::error(codes::UNKNOWN_INPUT, span, format!("no input named `{name}`"), label);
            let fix = match meant {
                Some(meant) => format!("write `${{{meant}}}`"),
                None => format!("declare it: `inputs: {{ {name}: {{ type: cidr }} }}`"),
            };
            Err(Some(Box::new(problem.fix(fix))))
        }
    }
}
