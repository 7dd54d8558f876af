//! A marked tree read by the language table: structure and scalars, every mistake reported, then on.
//!
//! Gives back the tree with known keys only and [`Kind::Bad`] where something was reported. Values stay text: what
//! they mean together is `check`'s business. Runs a second time over the tree with the inputs filled in.

use crate::error::{Code, Diagnostic, codes};
use crate::plan::language::{Field, Form, Object, PLAN, Type, nearest, one_of};
use crate::plan::node::{Entry, Kind, Node, Style};
use crate::plan::scalar;
use crate::source::{Span, Spanned};

/// Reads a document; `filled` when its inputs are filled in and no placeholder may be left.
pub(super) fn decode(document: &Node, filled: bool) -> (Node, Vec<Diagnostic>) {
    let mut decoder = Decoder {
        problems: Vec::new(),
        filled,
        in_inputs: false,
    };
    let root = decoder.document(document);
    (root, decoder.problems)
}

pub(super) struct Decoder {
    problems: Vec<Diagnostic>,
    /// The inputs are filled in: any `${` left is a mistake.
    filled: bool,
    in_inputs: bool,
}

/// How a value is called and where its absence is shown.
pub(super) struct Place<'a> {
    pub name: &'a str,
    pub span: Span,
    /// As the language table has it; of fields only.
    pub example: Option<&'static str>,
}

impl Place<'_> {
    /// How a value of this type is written here.
    fn written(&self, ty: &Type) -> String {
        match (self.example, ty) {
            (Some(example), _) => format!("write it as in `{}: {example}`", self.name),
            (None, ty) if ty.is_scalar() => "write one value, without `-`, `[` and `{`".to_string(),
            (None, _) => "write a mapping: `KEY: VALUE` in lines of their own, or `{ KEY: VALUE }`".to_string(),
        }
    }
}

impl Decoder {
    fn document(&mut self, node: &Node) -> Node {
        let start = Span::new(node.span.start, node.span.start);
        let span = node.entries().first().map_or(start, |entry| entry.key.span);
        self.object(
            node,
            &PLAN,
            &Place {
                name: "the document",
                span,
                example: None,
            },
        )
    }

    pub(super) fn report(&mut self, code: Code, span: Span, message: String, label: &str) -> &mut Diagnostic {
        self.problems.push(Diagnostic::error(code, span, message, label));
        self.problems.last_mut().expect("pushed above")
    }

    fn value(&mut self, node: &Node, ty: &'static Type, place: &Place<'_>) -> Node {
        if node.is_bad() {
            return node.clone();
        }
        if node.is_null() {
            let span = if node.span.is_empty() { place.span } else { node.span };
            let message = format!("`{}` has no value", place.name);
            self.report(codes::NO_VALUE, span, message, &format!("expected {}", ty.expects()))
                .fix = Some("write a value, or leave the key out".to_string());
            return Node::bad(node.span);
        }
        match ty {
            Type::Object(object) => self.object(node, object, place),
            Type::List(item, min) => self.list(node, ty, item, *min, place),
            Type::Map(form, value) => self.names(node, ty, *form, value, place),
            Type::Labels => self.labels(node, ty, place),
            Type::Any => self.any(node, place),
            Type::Default => self.default(node, place),
            Type::Either(scalar, object) => self.either(node, ty, (scalar, object), place),
            _ => self.scalar(node, ty, place),
        }
    }

    fn wrong_type(&mut self, node: &Node, ty: &Type, place: &Place<'_>) {
        let found = match &node.kind {
            Kind::Scalar { text, .. } => format!("`{text}`"),
            Kind::Seq(_) => "a list".to_string(),
            Kind::Map(_) => "a mapping".to_string(),
            Kind::Bad => return,
        };
        let message = format!("`{}` is {found}, expected {}", place.name, ty.expects());
        self.report(codes::WRONG_TYPE, node.span, message, "wrong type").fix = Some(place.written(ty));
    }

    fn object(&mut self, node: &Node, object: &'static Object, place: &Place<'_>) -> Node {
        let Kind::Map(entries) = &node.kind else {
            let message = format!("`{}` must be {}, a mapping", place.name, object.noun);
            if !node.is_bad() {
                self.report(codes::WRONG_TYPE, node.span, message, "expected a mapping")
                    .fix = Some(place.written(&Type::Labels));
            }
            return Node::bad(node.span);
        };
        let mut known = Vec::new();
        for entry in entries {
            let name = entry.key.value.as_str();
            let field = match object.field(name) {
                _ if entry.key_style == Style::Refused => continue,
                Some(field) => Some(field),
                None => self.unknown_field(entry, entries, object),
            };
            let Some(field) = field else { continue };
            let value = self.value(
                &entry.value,
                &field.ty,
                &Place {
                    name: field.name,
                    span: entry.key.span,
                    example: Some(field.example),
                },
            );
            let key = Spanned {
                value: field.name.to_string(),
                span: entry.key.span,
            };
            known.push(Entry {
                key,
                key_style: entry.key_style,
                value,
            });
        }
        for field in object.fields.iter().filter(|field| field.required) {
            if !known.iter().any(|entry| entry.key.value == field.name) {
                self.missing(field, object, place);
            }
        }
        self.choice(&known, object, place);
        Node {
            kind: Kind::Map(known),
            ..node.clone_place()
        }
    }

    pub(super) fn missing(&mut self, field: &Field, object: &Object, place: &Place<'_>) {
        let message = format!("{} needs `{}`", object.noun, field.name);
        self.report(
            codes::MISSING,
            place.span,
            message,
            &format!("`{}` is missing", field.name),
        )
        .fix = Some(format!("add `{}: {}`", field.name, field.example));
    }

    /// Reports it; what was probably meant is read as if it had been written.
    fn unknown_field(&mut self, entry: &Entry, all: &[Entry], object: &'static Object) -> Option<&'static Field> {
        let name = &entry.key.value;
        let names: Vec<&str> = object.fields.iter().map(|field| field.name).collect();
        let meant = nearest(name, names.iter().copied());
        let label = meant.map_or("no such field".to_string(), |meant| format!("did you mean `{meant}`?"));
        let message = format!("unknown field `{name}` in {}", object.noun);
        let problem = self.report(codes::UNKNOWN_FIELD, entry.key.span, message, &label);
        let fix = meant.map_or(format!("{} takes {}", object.noun, one_of(&names)), |meant| {
            format!("write `{meant}`")
        });
        problem.fix = Some(fix);
        if object.is_calicos() && meant.is_some_and(|meant| meant.eq_ignore_ascii_case(name)) {
            problem.consequence =
                Some("calicoctl ignores case, the Kubernetes API does not: such a key is dropped there".into());
        }
        let meant = meant.filter(|meant| !all.iter().any(|other| other.key.value == **meant))?;
        object.field(meant)
    }

    fn list(&mut self, node: &Node, ty: &Type, item: &'static Type, min: usize, place: &Place<'_>) -> Node {
        let alone;
        let items = match &node.kind {
            Kind::Seq(items) => items.as_slice(),
            // A single `${name}` of type cidrs stands for the whole list.
            Kind::Scalar { text, style } if *style != Style::Quoted && text.starts_with("${") && !self.filled => {
                return node.clone();
            }
            _ => {
                self.wrong_type(node, ty, place);
                if let Some(problem) = self.problems.last_mut() {
                    problem.fix = Some(match node.text() {
                        Some(text) if text.len() <= 40 => format!("write a list: `[\"{text}\"]`"),
                        _ => "write a list: `[...]`, or lines that begin with `- `".to_string(),
                    });
                }
                // What it holds is looked at as if it were the only item.
                alone = [node.clone()];
                if matches!(node.kind, Kind::Scalar { .. }) == item.is_scalar() {
                    alone.as_slice()
                } else {
                    &[]
                }
            }
        };
        if items.len() < min && matches!(node.kind, Kind::Seq(_)) {
            let message = format!("`{}` is an empty list", place.name);
            self.report(codes::EMPTY, node.span, message, &format!("needs at least {min}"))
                .fix = Some(format!("add an entry, or remove `{}`", place.name));
        }
        let items = items.iter().map(|node| {
            self.value(
                node,
                item,
                &Place {
                    name: place.name,
                    span: node.span,
                    example: None,
                },
            )
        });
        let items = items.collect();
        Node {
            kind: Kind::Seq(items),
            ..node.clone_place()
        }
    }

    /// The entries of a mapping with keys of the user's own choice.
    fn own_keys<'n>(&mut self, node: &'n Node, ty: &Type, place: &Place<'_>) -> Vec<&'n Entry> {
        let Kind::Map(entries) = &node.kind else {
            self.wrong_type(node, ty, place);
            return Vec::new();
        };
        let entries = entries.iter().filter(|entry| entry.key_style != Style::Refused);
        let mut kept = Vec::new();
        for entry in entries {
            let key = &entry.key.value;
            if key.contains("${") {
                let message = format!("key `{key}` cannot be filled in");
                self.report(codes::LEFTOVER, entry.key.span, message, "inputs are for values only")
                    .fix = Some("write the key out".to_string());
            } else if let Some(reading) = (entry.key_style == Style::Plain)
                .then(|| scalar::other_reading(key))
                .flatten()
            {
                self.problems
                    .push(scalar::ambiguous("name", key, reading, entry.key.span));
            }
            kept.push(entry);
        }
        kept
    }

    fn names(&mut self, node: &Node, ty: &Type, form: Form, value: &'static Type, place: &Place<'_>) -> Node {
        if form == Form::Input && self.filled {
            return node.clone();
        }
        let outside = std::mem::replace(&mut self.in_inputs, form == Form::Input);
        let mut entries = Vec::new();
        for entry in self.own_keys(node, ty, place) {
            let name = &entry.key.value;
            if !form.accepts(name) && !name.contains("${") {
                self.problems.push(scalar::bad_name(form, name, entry.key.span));
            }
            let read = self.value(
                &entry.value,
                value,
                &Place {
                    name,
                    span: entry.key.span,
                    example: None,
                },
            );
            entries.push(Entry {
                value: read,
                ..entry.clone()
            });
        }
        self.in_inputs = outside;
        Node {
            kind: Kind::Map(entries),
            ..node.clone_place()
        }
    }

    fn labels(&mut self, node: &Node, ty: &Type, place: &Place<'_>) -> Node {
        let mut entries = Vec::new();
        for entry in self.own_keys(node, ty, place) {
            let key = &entry.key.value;
            if !scalar::is_label_key(key) && !key.contains("${") {
                let message = format!("`{key}` is not a label key");
                self.report(codes::LABEL, entry.key.span, message, "not as Kubernetes wants it")
                    .fix = Some(
                    "use letters, digits, `-`, `_` and `.`, at most 63, perhaps after a domain and `/`".to_string(),
                );
            }
            let value = self.value(
                &entry.value,
                &Type::LabelValue,
                &Place {
                    name: key,
                    span: entry.key.span,
                    example: None,
                },
            );
            entries.push(Entry { value, ..entry.clone() });
        }
        Node {
            kind: Kind::Map(entries),
            ..node.clone_place()
        }
    }

    /// A value whose fields the table does not know: only what no reader should have to guess is refused.
    fn any(&mut self, node: &Node, place: &Place<'_>) -> Node {
        let kind = match &node.kind {
            Kind::Seq(items) => Kind::Seq(
                items
                    .iter()
                    .map(|item| {
                        self.value(
                            item,
                            &Type::Any,
                            &Place {
                                name: place.name,
                                span: item.span,
                                example: None,
                            },
                        )
                    })
                    .collect(),
            ),
            Kind::Map(_) => Kind::Map(
                self.own_keys(node, &Type::Any, place)
                    .into_iter()
                    .map(|entry| {
                        let place = Place {
                            name: &entry.key.value,
                            span: entry.key.span,
                            example: None,
                        };
                        Entry {
                            value: self.value(&entry.value, &Type::Any, &place),
                            ..entry.clone()
                        }
                    })
                    .collect(),
            ),
            _ => return self.scalar(node, &Type::Any, place),
        };
        Node {
            kind,
            ..node.clone_place()
        }
    }

    /// A scalar or a mapping. An input of type cidrs has put several scalars in the place of one.
    fn either(
        &mut self,
        node: &Node,
        ty: &Type,
        (scalar, object): (&'static Type, &'static Object),
        place: &Place<'_>,
    ) -> Node {
        let filled = |item: &Node| {
            matches!(
                &item.kind,
                Kind::Scalar {
                    style: Style::Filled(_),
                    ..
                }
            )
        };
        match &node.kind {
            Kind::Map(_) => self.object(node, object, place),
            Kind::Seq(items) if self.filled && items.iter().all(filled) => {
                let items = items.iter().map(|item| self.scalar(item, scalar, place)).collect();
                Node {
                    kind: Kind::Seq(items),
                    ..node.clone_place()
                }
            }
            Kind::Seq(_) => {
                self.wrong_type(node, ty, place);
                if let Some(problem) = self.problems.last_mut() {
                    problem.fix = Some("write one source here, and another entry for each other one".to_string());
                }
                Node::bad(node.span)
            }
            _ => self.scalar(node, scalar, place),
        }
    }

    fn default(&mut self, node: &Node, place: &Place<'_>) -> Node {
        let outside = std::mem::replace(&mut self.in_inputs, false);
        let node = match &node.kind {
            Kind::Seq(items) => {
                let place = |item: &Node| Place {
                    name: place.name,
                    span: item.span,
                    example: None,
                };
                let items = items
                    .iter()
                    .map(|item| self.scalar(item, &Type::Default, &place(item)))
                    .collect();
                Node {
                    kind: Kind::Seq(items),
                    ..node.clone_place()
                }
            }
            _ => self.scalar(node, &Type::Default, place),
        };
        self.in_inputs = outside;
        node
    }

    fn scalar(&mut self, node: &Node, ty: &'static Type, place: &Place<'_>) -> Node {
        let Kind::Scalar { text, style } = &node.kind else {
            self.wrong_type(node, ty, place);
            return Node::bad(node.span);
        };
        if text.contains("${") && !matches!(style, Style::Filled(_)) {
            if self.filled || self.in_inputs {
                let message = format!("`{text}` cannot be filled in here");
                self.report(
                    codes::LEFTOVER,
                    node.span,
                    message,
                    "inputs are for values below `spec`",
                )
                .fix = Some("write the value out".to_string());
                return Node::bad(node.span);
            }
            return node.clone();
        }
        match scalar::check(ty, text, *style, node.span, place.name) {
            Ok(None) => node.clone(),
            Ok(Some(text)) => Node {
                kind: Kind::Scalar { text, style: *style },
                ..node.clone_place()
            },
            Err(problem) => {
                self.problems.push(*problem);
                // Reported; the rest is looked at as if the likely value stood here.
                match scalar::likely(text).filter(|_| *ty == Type::Any) {
                    Some(text) => Node {
                        kind: Kind::Scalar { text, style: *style },
                        ..node.clone_place()
                    },
                    None => Node::bad(node.span),
                }
            }
        }
    }
}

impl Node {
    /// The same place with nothing in it.
    fn clone_place(&self) -> Node {
        Node {
            span: self.span,
            kind: Kind::Bad,
            via_alias: self.via_alias,
        }
    }
}
