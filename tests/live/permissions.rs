//! `rbac/plan.yaml` and `rbac/apply.yaml`: each is enough, and without any one of its verbs exactly that is missed.

use std::time::Duration;

use serde_json::{Value, json};

use super::workshop::{controller, shop};
use crate::support::cluster::{PlanFile, hostguard_on, plan_file};
use crate::support::command::Ran;
use crate::support::control_plane::{ControlPlane, Identity};
use crate::support::live::{eventually, live};

const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
const RECORD_ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/hostguard/roles";

/// Only Calico itself asks for these; what serves the tests' resources does not, so nothing here can miss them.
const ASKED_BY_CALICO: &str = "tier.";

/// Everything that a plan can write.
fn everything(order: u64) -> PlanFile {
    plan_file(&format!(
        "hostEndpoints: {{ autoCreate: Enabled }}
nodes: {{ guarded: {{ names: [ ip-10-0-1-5 ], labels: {{ host-end-point: test }} }} }}
services:
  frontend-nodeport:
    namespace: hipstershop
    expose: deployment/frontend
    ports: [ {{ port: 80, targetPort: {target}, nodePort: 30001 }} ]
tiers: {{ security: {{ order: {order} }} }}
networkSets: {{ partners: {{ nets: [ 203.0.113.{order}/32 ] }} }}
policies:
  security.allow:
    spec:
      order: {order}
      selector: host-end-point == 'test'
      preDNAT: true
      applyOnForward: true
      types: [Ingress]
      ingress: [ {{ action: Deny, protocol: TCP, destination: {{ ports: [ 30001 ] }} }} ]
claims:
  - {{ kind: FelixConfiguration, name: default, set: {{ logSeverityScreen: Warning }} }}",
        target = 8080 + order,
    ))
}

/// Applies the project's files with the reader in place of the groups.
fn install(server: &ControlPlane, files: &[&str]) {
    for file in files {
        let path = format!("{}/rbac/{file}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).expect("the project's files");
        let text = text
            .replace("kind: Group, name: hostguard-planners", "kind: User, name: reader")
            .replace("kind: Group, name: hostguard-appliers", "kind: User, name: reader");
        let applied = server.kubectl(Identity::Admin).run(&["apply", "-f", "-"], &text);
        assert_eq!(applied.code, 0, "{}", applied.stderr);
    }
}

/// One verb on one resource, as a role gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Right {
    role: String,
    rule: usize,
    group: String,
    resource: String,
    verb: String,
}

fn rights(server: &ControlPlane, role: &str) -> Vec<Right> {
    let rules = server.rest().get(role).ok()["rules"].clone();
    let texts = |value: &Value| -> Vec<String> {
        let list = value.as_array().expect("a list");
        list.iter()
            .map(|text| text.as_str().expect("a text").to_string())
            .collect()
    };
    let mut all = Vec::new();
    for (rule, content) in rules.as_array().expect("rules").iter().enumerate() {
        for resource in texts(&content["resources"]) {
            for verb in texts(&content["verbs"]) {
                let (role, resource) = (role.to_string(), resource.clone());
                let group = texts(&content["apiGroups"]).remove(0);
                all.push(Right {
                    role,
                    rule,
                    group,
                    resource,
                    verb,
                });
            }
        }
    }
    all
}

/// Takes one right out of its role; the rest stays. Gives the role as it was.
fn without(server: &ControlPlane, right: &Right) -> Value {
    let role = server.rest().get(&right.role).ok();
    let mut less = role.clone();
    let rules = less["rules"].as_array_mut().expect("rules");
    let mut alone = rules[right.rule].clone();
    alone["resources"] = json!([right.resource]);
    let keep = |list: &Value, taken: &str| -> Vec<Value> {
        list.as_array()
            .expect("a list")
            .iter()
            .filter(|one| *one != taken)
            .cloned()
            .collect()
    };
    alone["verbs"] = keep(&alone["verbs"], &right.verb).into();
    rules[right.rule]["resources"] = keep(&rules[right.rule]["resources"], &right.resource).into();
    rules.push(alone);
    rules.retain(|rule| ["resources", "verbs"].iter().all(|part| rule[*part] != json!([])));
    put(server, &right.role, less);
    wait_for(server, right, false);
    role
}

fn put(server: &ControlPlane, path: &str, mut role: Value) {
    if let Some(metadata) = role["metadata"].as_object_mut() {
        metadata.remove("resourceVersion");
    }
    server.rest().put(path, &role).ok();
}

/// Roles are followed by an informer: until it has seen the change, the old answer holds.
fn wait_for(server: &ControlPlane, right: &Right, allowed: bool) {
    let rest = server.rest_as(Identity::ReaderToken);
    let namespace = if ["configmaps", "leases"].contains(&right.resource.as_str()) {
        "hostguard"
    } else {
        ""
    };
    let attributes = json!({
        "verb": right.verb, "group": right.group, "resource": right.resource, "namespace": namespace,
    });
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    });
    eventually("the authorizer follows", Duration::from_secs(10), || {
        let answer = rest
            .post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", &review)
            .ok();
        if answer["status"]["allowed"] == allowed {
            Ok(())
        } else {
            Err(answer.to_string())
        }
    });
}

fn on(server: &ControlPlane, who: Identity, args: &[&str]) -> Ran {
    hostguard_on(server, who, &[args, &["--wait", "1"]].concat())
}

#[track_caller]
fn done(ran: &Ran, codes: &[i32]) {
    assert!(codes.contains(&ran.code), "{}:\n{}{}", ran.code, ran.stdout, ran.stderr);
}

#[test]
fn the_file_for_plan_is_enough_and_each_verb_is_needed() {
    let Some(server) = live!() else { return };
    shop(&server);
    install(&server, &["plan.yaml"]);
    let (all, records) = (
        format!("{ROLES}/hostguard-plan"),
        format!("{RECORD_ROLES}/hostguard-plan"),
    );
    let last = Right {
        role: records.clone(),
        rule: 0,
        group: "".into(),
        resource: "configmaps".into(),
        verb: "list".into(),
    };
    wait_for(&server, &last, true);
    let unread = || -> Vec<String> {
        let ran = hostguard_on(&server, Identity::Reader, &["snapshot"]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        ran.stderr
            .lines()
            .filter(|line| line.contains("could not be read"))
            .map(str::to_string)
            .collect()
    };
    assert_eq!(unread(), [""; 0]);
    let ran = hostguard_on(&server, Identity::Reader, &["plan", everything(1).path()]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);

    for right in [rights(&server, &all), rights(&server, &records)].concat() {
        if right.resource.starts_with(ASKED_BY_CALICO) || right.verb == "get" {
            continue;
        }
        let role = without(&server, &right);
        let missed = unread();
        assert_eq!(missed.len(), 1, "without {right:?}: {missed:?}");
        assert!(
            missed[0].contains(&format!("{} is forbidden", full(&right))),
            "without {right:?}: {missed:?}"
        );
        put(&server, &right.role, role);
        wait_for(&server, &right, true);
    }
}

fn full(right: &Right) -> String {
    match right.group.as_str() {
        "" => right.resource.clone(),
        group => format!("{}.{group}", right.resource),
    }
}

#[test]
fn the_file_for_apply_is_enough_and_each_verb_is_needed() {
    let Some(server) = live!() else { return };
    shop(&server);
    install(&server, &["plan.yaml", "apply.yaml"]);
    // The reader applies; what plan.yaml gives for the records must not hide what apply.yaml lacks.
    server.rest().delete(&format!("{RECORD_ROLES}/hostguard-plan")).ok();
    // Tiers are read for Calico's sake too.
    let all = format!("{ROLES}/hostguard-plan");
    let get_of_tiers = rights(&server, &all)
        .into_iter()
        .find(|right| right.verb == "get")
        .expect("in the file");
    put(&server, &all, {
        let mut role = server.rest().get(&all).ok();
        let rules = role["rules"].as_array_mut().expect("rules");
        rules.remove(get_of_tiers.rule);
        role
    });
    let (first, second) = (everything(1), everything(2));
    let (apply, records) = (
        format!("{ROLES}/hostguard-apply"),
        format!("{RECORD_ROLES}/hostguard-apply"),
    );
    let last = Right {
        role: records.clone(),
        rule: 0,
        group: "".into(),
        resource: "configmaps".into(),
        verb: "patch".into(),
    };
    wait_for(&server, &last, true);

    // The Service opens last, once the host endpoints have their labels.
    let _controller = controller(&server);
    done(&on(&server, Identity::Reader, &["apply", first.path(), "--yes"]), &[0]);
    done(&on(&server, Identity::Reader, &["apply", second.path(), "--yes"]), &[0]);
    done(
        &on(&server, Identity::Reader, &["destroy", second.path(), "--yes"]),
        &[0],
    );

    let needed = [rights(&server, &apply), rights(&server, &records)].concat();
    let needed = || {
        needed
            .iter()
            .filter(|right| !right.resource.starts_with(ASKED_BY_CALICO) && right.verb != "list")
    };
    let missed = |right: &Right, args: &[&str]| {
        let role = without(&server, right);
        let ran = on(&server, Identity::Reader, args);
        done(&ran, &[1]);
        let named = format!("{} {}", right.verb, full(right));
        let causes: Vec<&str> = ran.stderr.lines().filter(|line| line.contains("caused by: ")).collect();
        assert!(
            ran.stderr
                .contains("error[HG0706] 1 right is missing; nothing was written"),
            "{}",
            ran.stderr
        );
        assert!(
            causes.len() == 1 && causes[0].contains(&named),
            "without {right:?}: {}",
            ran.stderr
        );
        put(&server, &right.role, role);
        wait_for(&server, right, true);
    };
    let created_by_plans = |right: &Right| {
        !["nodes", "felixconfigurations", "kubecontrollersconfigurations"].contains(&right.resource.as_str())
    };
    for right in
        needed().filter(|right| right.verb == "create" || (right.verb == "get" && right.resource != "configmaps"))
    {
        missed(right, &["apply", first.path(), "--yes"]);
    }
    for right in needed().filter(|right| right.verb == "patch" && !created_by_plans(right)) {
        missed(right, &["apply", first.path(), "--yes"]);
    }
    done(&on(&server, Identity::Admin, &["apply", first.path(), "--yes"]), &[0]);
    for right in needed().filter(|right| {
        right.verb == "patch" && created_by_plans(right) || right.resource == "configmaps" && right.verb == "get"
    }) {
        missed(right, &["apply", second.path(), "--yes"]);
    }
    for right in needed().filter(|right| right.verb == "delete") {
        missed(right, &["destroy", first.path(), "--yes"]);
    }
}
