//! Plans and input files from disk or standard input, and `HOSTGUARD_INPUT_*` from the environment.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::sync::OnceLock;

use super::prepare::Intent;
use super::{Console, Failure, mistaken};
use crate::cli::Inputs;
use crate::error::{Error, Kind, Style, codes, show_diagnostics};
use crate::plan::{Document, Draft, Given, Lookups, Plan, read_inputs};
use crate::source::Source;

/// A plan file and the values given for its inputs.
pub(super) struct Loaded {
    pub source: Source,
    document: Document,
    pub given: Given,
    /// The plan as far as it is known offline, once that was checked.
    offline: OnceLock<Plan>,
}

impl Loaded {
    fn new(document: Document, given: Given) -> Loaded {
        Loaded {
            source: document.source().clone(),
            document,
            given,
            offline: OnceLock::new(),
        }
    }

    /// The file's only plan, as far as it is known offline.
    pub fn offline(&self) -> Result<Plan, Failure> {
        if let Some(plan) = self.offline.get() {
            return Ok(plan.clone());
        }
        let plan = self.checked(&Lookups::Pending)?;
        Ok(self.offline.get_or_init(|| plan).clone())
    }

    /// The same with what was looked up.
    pub fn check(&self, lookups: &BTreeMap<String, String>) -> Result<Plan, Failure> {
        match lookups.is_empty() {
            true => self.offline(),
            false => self.checked(&Lookups::Known(lookups.clone())),
        }
    }

    fn checked(&self, lookups: &Lookups) -> Result<Plan, Failure> {
        let plan = self.document.the_plan(&self.given, lookups);
        plan.map_err(|problems| Failure::Plan(self.source.clone(), problems))
    }

    /// Every plan of the file, checked offline.
    pub fn check_all(&self) -> Result<Vec<Plan>, Failure> {
        let given = Given {
            stand_ins: true,
            ..self.given.clone()
        };
        let checked = self.document.check(&given, &Lookups::Pending);
        checked.map_err(|problems| Failure::Plan(self.source.clone(), problems))
    }
}

/// Reads a plan file (`-`: standard input) and what gives its inputs values.
pub(super) fn load(file: &str, inputs: &Inputs) -> Result<Loaded, Failure> {
    let given = given(inputs)?;
    let document = read(file)?;
    Ok(Loaded::new(document, given))
}

/// Two plans whose inputs come from the same options, for each file that is not empty. A name that only one of them
/// declares is not given to the other.
pub(super) fn load_two(base: &str, head: &str, inputs: &Inputs) -> Result<[Option<Loaded>; 2], Failure> {
    let given = given(inputs)?;
    let document = |file: &str| {
        let bytes = bytes(file)?;
        let empty = bytes.trim_ascii().is_empty();
        (!empty).then(|| document(file, &bytes)).transpose()
    };
    let (base, head) = (document(base)?, document(head)?);
    let load = |document: Option<&Document>, other: Option<&Document>| {
        let document = document?;
        let (own, others) = (
            document.input_names(),
            other.map(Document::input_names).unwrap_or_default(),
        );
        Some(given.only(|name| own.contains(name) || !others.contains(name)))
    };
    let of_base = load(base.as_ref(), head.as_ref());
    let of_head = load(head.as_ref(), base.as_ref());
    let loaded = |document: Option<Document>, given: Option<Given>| {
        let (document, given) = (document?, given?);
        Some(Loaded::new(document, given))
    };
    Ok([loaded(base, of_base), loaded(head, of_head)])
}

fn shown_name(file: &str) -> &str {
    if file == "-" { "standard input" } else { file }
}

/// A plan as it was saved: its text and the values given then.
pub(super) fn saved(name: &str, text: &str, given: Given) -> Loaded {
    let document = Document::read(name, text.as_bytes());
    Loaded::new(document, given)
}

fn read(file: &str) -> Result<Document, Failure> {
    document(file, &bytes(file)?)
}

/// What is another sort of file altogether is no plan with mistakes.
fn document(file: &str, bytes: &[u8]) -> Result<Document, Failure> {
    match mistaken::for_plan(file, bytes) {
        Some(error) => Err(Failure::from(error)),
        None => Ok(Document::read(shown_name(file), bytes)),
    }
}

pub(super) fn bytes(file: &str) -> Result<Vec<u8>, Failure> {
    let read = if file == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(file)
    };
    read.map_err(|e| {
        let fix = match e.kind() {
            ErrorKind::NotFound => "correct its name; it is looked for in the folder that hostguard is run in",
            ErrorKind::IsADirectory => "name a file in it",
            ErrorKind::PermissionDenied => "let the user that runs hostguard read it",
            _ => "see why it cannot be read, or name another file",
        };
        let error = Error::failed(codes::FILE_UNREADABLE, format!("{file} cannot be read"));
        Failure::from(error.cause(e.to_string()).fix(fix))
    })
}

/// A file that an answer was to be written to.
pub(super) fn unwritable(file: &str, why: &std::io::Error) -> Error {
    let fix = match why.kind() {
        ErrorKind::NotFound => "make the folder first, or name another file with --out",
        ErrorKind::PermissionDenied => "let the user that runs hostguard write there, or name another file with --out",
        _ => "see why it cannot be written, or name another file with --out",
    };
    let error = Error::failed(codes::FILE_UNWRITABLE, format!("{file} cannot be written"));
    error.cause(why.to_string()).fix(fix)
}

fn given(inputs: &Inputs) -> Result<Given, Failure> {
    let mut given = Given::default();
    for text in &inputs.set {
        let Some((name, value)) = text.split_once('=') else {
            let error = Error::new(Kind::Usage, codes::USAGE, format!("--set {text}: there is no `=`"));
            return Err(Failure::from(error.fix(format!("write --set {text}=VALUE"))));
        };
        let before = given.set.insert(name.to_string(), value.to_string());
        if before.is_some_and(|before| before != value) {
            let error = Error::new(
                Kind::Usage,
                codes::USAGE,
                format!("--set {name} is given twice, with two values"),
            );
            return Err(Failure::from(error.fix("remove one of them")));
        }
    }
    for path in &inputs.files {
        let name = path.display().to_string();
        let values =
            read_inputs(&name, &bytes(&name)?).map_err(|(source, problems)| Failure::Plan(source, problems))?;
        given.files.push((name, values));
    }
    given.env = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with("HOSTGUARD_INPUT_"))
        .collect();
    Ok(given)
}

/// Warnings of a plan are shown beside every answer about it.
pub(super) fn show_warnings(intent: &Intent, plan: &Plan, console: &mut dyn Console) {
    if let Some(source) = intent.source()
        && !plan.warnings.is_empty()
    {
        console.story(show_diagnostics(source, &plan.warnings, Style::default()).trim_end());
    }
}

/// What the plan in a file is called, of a saved change set too; the file's name where that cannot be told. For comments
/// about a failure, which have to be found again by it.
pub(super) fn plan_name(file: &str) -> String {
    let read = || -> Option<String> {
        let bytes = if file == "-" {
            return None;
        } else {
            std::fs::read(file).ok()?
        };
        if let Ok(saved) = serde_json::from_slice::<serde_json::Value>(&bytes)
            && let Some(name) = saved.pointer("/plan/name").and_then(serde_json::Value::as_str)
        {
            return Some(name.to_string());
        }
        let document = Document::read(file, &bytes);
        match document.drafts() {
            [draft] => draft.name().map(str::to_string),
            _ => None,
        }
    };
    read().unwrap_or_else(|| file.to_string())
}

/// What destroy wants of a plan file: its name and its cluster, nothing else. Mistakes elsewhere do not matter to it.
pub(super) fn nothing_of(file: &str) -> Result<Intent, Failure> {
    let document = read(file)?;
    let names: Vec<&str> = document.drafts().iter().filter_map(Draft::name).collect();
    match names.as_slice() {
        [name] => {
            let mut plan = Plan::nothing(name);
            // a guard that cannot be read guards nothing
            let uid = document.drafts()[0].cluster_uid();
            plan.cluster.uid = uid.map_err(|problems| Failure::Plan(document.source().clone(), problems))?;
            Ok(Intent::Nothing {
                plan: Box::new(plan),
                source: Some(document.source().clone()),
            })
        }
        [] => Err(Failure::Plan(document.source().clone(), document.problems())),
        names => {
            let message = format!("{file} holds {} plans: {}", names.len(), names.join(", "));
            let error = Error::failed(codes::ONE_PLAN, message);
            Err(Failure::from(
                error.fix(format!("say which one: hostguard destroy --name {}", names[0])),
            ))
        }
    }
}
