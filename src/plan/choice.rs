//! Objects that can be written in several ways: exactly one of them, and all of it.

use crate::error::codes;
use crate::plan::decode::{Decoder, Place};
use crate::plan::language::{Choice, Object, one_of};
use crate::plan::node::Entry;

impl Decoder {
    pub(super) fn choice(&mut self, entries: &[Entry], object: &Object, place: &Place<'_>) {
        if object.choice.is_empty() {
            return;
        }
        let takes = |choice: &Choice, name: &str| choice.needs.contains(&name) || choice.may.contains(&name);
        let present: Vec<&Entry> = entries
            .iter()
            .filter(|entry| object.choice.iter().any(|choice| takes(choice, &entry.key.value)))
            .collect();
        let has = |name: &&&str| present.iter().any(|entry| entry.key.value == ***name);
        let fitting: Vec<&Choice> = object
            .choice
            .iter()
            .filter(|choice| present.iter().all(|entry| takes(choice, &entry.key.value)))
            .collect();
        if fitting.iter().any(|choice| choice.needs.iter().all(|name| has(&name))) {
            return;
        }
        let Some(best) = fitting
            .iter()
            .max_by_key(|choice| choice.needs.iter().filter(has).count())
        else {
            return self.clash(&present, object, takes);
        };
        if present.is_empty() {
            let ways: Vec<String> = object
                .choice
                .iter()
                .map(|choice| choice.needs.join("` with `"))
                .collect();
            let ways: Vec<&str> = ways.iter().map(String::as_str).filter(|way| !way.is_empty()).collect();
            let message = format!("{} needs {}", object.noun, one_of(&ways));
            let field = object.choice[0].needs.iter().find_map(|name| object.field(name));
            self.report(codes::MISSING, place.span, message, "says nothing").fix =
                field.map(|field| format!("add `{}: {}`", field.name, field.example));
            return;
        }
        for name in best.needs.iter().filter(|name| !has(name)) {
            if let Some(field) = object.field(name) {
                self.missing(field, object, place);
            }
        }
    }

    fn clash(&mut self, present: &[&Entry], object: &Object, takes: impl Fn(&Choice, &str) -> bool) {
        let together = |a: &str, b: &str| object.choice.iter().any(|choice| takes(choice, a) && takes(choice, b));
        for (i, second) in present.iter().enumerate() {
            let clash = |first: &&&Entry| !together(&first.key.value, &second.key.value);
            if let Some(first) = present[..i].iter().find(clash) {
                let (a, b) = (&first.key.value, &second.key.value);
                let message = format!("{} takes `{a}` or `{b}`, not both", object.noun);
                let span = first.key.span;
                let problem = self.report(codes::CHOICE, second.key.span, message, "cannot stand beside the other");
                *problem = problem.clone().and(span, "first choice").fix("remove one of the two");
                return;
            }
        }
    }
}
