//! The JSON Schema says what the decoder says, as far as a schema can.

use hostguard::plan::schema;
use serde_json::{Value, json};

use super::{errors, files, problems, read};

/// The plain plans of this project as JSON: what an editor checks against the schema.
fn as_json(text: &str) -> Value {
    // The schema is for editors, which read YAML on their own; any reader will do here.
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn the_plans_of_this_project_are_right_and_fit_the_schema() {
    let validator = jsonschema::validator_for(&schema()).expect("the schema is one");
    let plans = files("plans", ".yaml");
    assert!(plans.len() >= 6);
    for path in plans {
        let text = read(&path);
        let found: Vec<String> = problems(&text)
            .into_iter()
            .filter(|problem| problem.code.as_str() != "HG0210")
            .map(|problem| format!("{} {}", problem.code, problem.message))
            .collect();
        assert_eq!(found, Vec::<String>::new(), "{}", path.display());
        let found: Vec<String> = validator
            .iter_errors(&as_json(&text))
            .map(|error| error.to_string())
            .collect();
        assert_eq!(found, Vec::<String>::new(), "{}", path.display());
    }
}

#[test]
fn schema_and_decoder_refuse_the_same_structure() {
    let validator = jsonschema::validator_for(&schema()).expect("the schema is one");
    let plan = |spec: Value| {
        let mut spec = spec;
        spec["cluster"] = json!({ "platform": "generic" });
        json!({ "apiVersion": "hostguard.dev/v1alpha1", "kind": "HostProtection", "metadata": { "name": "p" }, "spec": spec })
    };
    let bad = [
        json!({ "nods": {} }),
        json!({ "nodes": { "g": { "pick": { "count": 0 } } } }),
        json!({ "nodes": { "g": { "all": true, "names": ["a"] } } }),
        json!({ "nodes": { "g": {} } }),
        json!({ "nodes": { "G": { "all": true } } }),
        json!({ "nodes": { "g": { "names": [] } } }),
        json!({ "services": { "s": { "existing": "web" } } }),
        json!({ "services": { "s": { "namespace": "a", "ports": [] } } }),
        json!({ "tiers": { "t": { "order": "5" } } }),
        json!({ "tiers": { "t": { "defaultAction": "deny" } } }),
        json!({ "networkSets": { "s": { "Nets": [] } } }),
        json!({ "networkSets": { "s": { "nets": ["here"] } } }),
        json!({ "policies": { "a.b.c": { "spec": {} } } }),
        json!({ "hostEndpoints": { "autoCreate": true } }),
        json!({ "claims": [{ "kind": "Node", "name": "n", "set": {} }] }),
        json!({ "inputs": { "i": { "type": "cidr", "lookup": {} } } }),
    ];
    for spec in bad {
        let plan = plan(spec);
        assert!(!validator.is_valid(&plan), "the schema takes {plan}");
        assert!(!errors(&plan.to_string()).is_empty(), "the decoder takes {plan}");
    }
    let good = plan(json!({
        "nodes": { "g": { "pick": { "count": 1 } } },
        "networkSets": { "s": { "nets": ["10.0.0.0/8"] } },
        "services": { "s": { "existing": "a/web" } },
    }));
    assert!(validator.is_valid(&good));
    assert!(errors(&good.to_string()).is_empty(), "{:?}", errors(&good.to_string()));
}
