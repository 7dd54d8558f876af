//! Our statement of Calico's kinds beside Calico's own: every property, bound, default and rule count.
//!
//! Needs no server, only the folder in `CALICO_CRDS`. Sentences, patterns' spelling and rules' wording are ours.

use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::support::live::not_run;

/// The one kind of which we state a part only.
const PARTIAL: &str = "felixconfigurations";

fn ours() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/control-plane")
}

fn read(file: &Path) -> Value {
    let text = std::fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

fn manifests(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let files = entries
        .map(|e| e.expect("an entry").path())
        .filter(|p| p.extension().is_some_and(|x| x == "yaml"));
    BTreeSet::from_iter(files).into_iter().collect()
}

#[test]
fn our_statement_of_the_kinds_agrees_with_calicos() {
    let Some(calico) = std::env::var_os("CALICO_CRDS") else {
        return not_run(
            "crds::our_statement_of_the_kinds_agrees_with_calicos",
            "needs Calico's own: CALICO_CRDS",
        );
    };
    let mut differences = vec![];
    for file in manifests(&ours().join("crds")) {
        let plural = file.file_stem().and_then(|s| s.to_str()).expect("a name").to_string();
        let theirs = read(&Path::new(&calico).join(format!("v3/projectcalico.org_{plural}.yaml")));
        let mut comparison = Comparison {
            whole: plural != PARTIAL,
            differences: vec![],
        };
        comparison.definition(&plural, &read(&file), &theirs);
        differences.append(&mut comparison.differences);
    }
    assert!(
        differences.is_empty(),
        "{} differences:\n{}",
        differences.len(),
        differences.join("\n")
    );
}

#[test]
fn the_enterprise_variant_adds_one_field_to_one_kind() {
    let variant: Vec<Value> = manifests(&ours().join("enterprise")).iter().map(|f| read(f)).collect();
    let [felix] = &variant[..] else {
        panic!("one kind, not {}", variant.len())
    };
    assert_eq!(felix["metadata"]["name"], "felixconfigurations.projectcalico.org");
    let properties = &felix["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
    assert_eq!(
        properties,
        &json!({ "flowLogsEnableHostEndpoint": { "type": "boolean" } })
    );
}

#[test]
fn the_comparison_sees_every_sort_of_difference() {
    let mine = json!({
        "type": "object", "required": ["a"], "x-kubernetes-validations": [{ "rule": "true", "reason": "FieldValueInvalid" }],
        "properties": {
            "a": { "type": "integer", "minimum": 0 },
            "b": { "type": "array", "x-kubernetes-list-type": "set", "items": { "type": "string", "enum": ["x", "y"] } },
            "c": { "type": "string", "default": "x" },
        },
    });
    let compared = |change: &dyn Fn(&mut Value), whole: bool| {
        let mut theirs = mine.clone();
        change(&mut theirs);
        let mut comparison = Comparison {
            whole,
            differences: vec![],
        };
        comparison.schema("s", &mine, &theirs);
        comparison.differences.len()
    };
    assert_eq!(compared(&|_| {}, true), 0);
    let changes: [&dyn Fn(&mut Value); 8] = [
        &|t| t["properties"]["a"]["minimum"] = 1.into(),
        &|t| t["properties"]["b"]["x-kubernetes-list-type"] = "atomic".into(),
        &|t| t["properties"]["b"]["items"]["enum"] = json!(["x"]),
        &|t| t["properties"]["c"]["default"] = Value::Null,
        &|t| t["properties"]["c"]["pattern"] = "^x$".into(),
        &|t| drop(t["properties"].as_object_mut().expect("properties").remove("c")),
        &|t| t["required"] = json!([]),
        &|t| t["x-kubernetes-validations"] = json!([]),
    ];
    assert_eq!(changes.map(|change| compared(change, true)), [1; 8]);
    let more: &dyn Fn(&mut Value) = &|t| t["properties"]["d"] = json!({ "type": "string" });
    assert_eq!((compared(more, true), compared(more, false)), (1, 0));
}

struct Comparison {
    /// Whether what they have and we do not is a difference too.
    whole: bool,
    differences: Vec<String>,
}

impl Comparison {
    fn definition(&mut self, kind: &str, ours: &Value, theirs: &Value) {
        self.same(
            kind,
            "metadata.name",
            &ours["metadata"]["name"],
            &theirs["metadata"]["name"],
        );
        for key in ["group", "scope", "names"] {
            self.same(kind, key, &ours["spec"][key], &theirs["spec"][key]);
        }
        let (ours, theirs) = (&ours["spec"]["versions"], &theirs["spec"]["versions"]);
        self.same(kind, "number of versions", &count(ours), &count(theirs));
        let (ours, theirs) = (&ours[0], &theirs[0]);
        for key in ["name", "served", "storage", "selectableFields"] {
            self.same(kind, key, &ours[key], &theirs[key]);
        }
        self.same(
            kind,
            "subresources.status",
            &ours["subresources"]["status"],
            &theirs["subresources"]["status"],
        );
        self.schema(
            kind,
            &ours["schema"]["openAPIV3Schema"],
            &theirs["schema"]["openAPIV3Schema"],
        );
    }

    fn schema(&mut self, at: &str, ours: &Value, theirs: &Value) {
        let flag = "x-kubernetes-int-or-string";
        for key in [
            "type",
            "format",
            "default",
            "minimum",
            "maximum",
            "minLength",
            "maxLength",
            "minItems",
            "maxItems",
            flag,
            "x-kubernetes-list-type",
            "x-kubernetes-list-map-keys",
            "x-kubernetes-preserve-unknown-fields",
        ] {
            self.same(at, key, &ours[key], &theirs[key]);
        }
        self.same(at, "enum", &values(ours), &values(theirs));
        if ours[flag].is_null() {
            self.same(
                at,
                "pattern",
                &ours["pattern"].is_string().into(),
                &theirs["pattern"].is_string().into(),
            );
        }
        self.same(at, "rules", &reasons(ours), &reasons(theirs));
        let (mine, known) = (entries(&ours["properties"]), entries(&theirs["properties"]));
        let required = |s: &Value| -> BTreeSet<String> {
            let all = s["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            all.filter(|r| self.whole || mine.contains_key(*r) || known.is_empty())
                .map(String::from)
                .collect()
        };
        let (needed, theirs_needed) = (json!(required(ours)), json!(required(theirs)));
        self.same(at, "required", &needed, &theirs_needed);
        for (name, property) in &mine {
            match known.get(name) {
                Some(known) => self.schema(&format!("{at}.{name}"), property, known),
                None => self.differences.push(format!("{at}.{name}: Calico does not know it")),
            }
        }
        for name in known.keys().filter(|n| self.whole && !mine.contains_key(*n)) {
            if !["apiVersion", "kind", "metadata"].contains(&name.as_str()) {
                self.differences.push(format!("{at}.{name}: we do not state it"));
            }
        }
        for (key, sign) in [("items", "[]"), ("additionalProperties", "{}")] {
            if ours[key].is_null() != theirs[key].is_null() {
                self.same(at, key, &ours[key], &theirs[key]);
            } else if !ours[key].is_null() {
                self.schema(&format!("{at}{sign}"), &ours[key], &theirs[key]);
            }
        }
    }

    fn same(&mut self, at: &str, what: &str, ours: &Value, theirs: &Value) {
        if ours != theirs {
            self.differences
                .push(format!("{at}: {what}: ours {ours}, Calico's {theirs}"));
        }
    }
}

fn count(list: &Value) -> Value {
    list.as_array().map_or(0, Vec::len).into()
}

fn entries(properties: &Value) -> Map<String, Value> {
    properties.as_object().cloned().unwrap_or_default()
}

/// The values that pass `enum` and every `enum` under `allOf`; null when anything does.
fn values(schema: &Value) -> Value {
    let nested = schema["allOf"].as_array().into_iter().flatten();
    let enums: Vec<BTreeSet<String>> = std::iter::once(schema)
        .chain(nested)
        .filter_map(|s| Some(s["enum"].as_array()?.iter().map(Value::to_string).collect()))
        .collect();
    enums
        .into_iter()
        .reduce(|a, b| &a & &b)
        .map_or(Value::Null, |e| json!(e))
}

/// Why each cross-field rule refuses: as many as there are rules, whatever their order.
fn reasons(schema: &Value) -> Value {
    let rules = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
    let mut reasons: Vec<&str> = rules.map(|r| r["reason"].as_str().unwrap_or("")).collect();
    reasons.sort_unstable();
    json!(reasons)
}
