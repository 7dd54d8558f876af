//! What is said to do nothing can be taken away, and no random packet fares differently.

use super::*;
use hostguard::exposure::{Direction, Idle, PolicyKind, PolicyName, idle};

fn name_of(object: &Value) -> PolicyName {
    PolicyName {
        kind: PolicyKind::GlobalNetworkPolicy,
        namespace: String::new(),
        name: str_of(&object["metadata"], "name").to_string(),
    }
}

/// A random world with more of what does nothing: copies of policies that come later, and policies that only allow.
fn world_with_more(dice: &mut Dice) -> Value {
    let mut case = world(dice);
    let objects = case["resources"].as_array_mut().expect("a list");
    let mut more = Vec::new();
    for object in objects.iter_mut().filter(|o| o["kind"] == "GlobalNetworkPolicy") {
        if object["spec"]["preDNAT"] == true && dice.chance(40) {
            for rule in object["spec"]["ingress"].as_array_mut().expect("rules") {
                rule["action"] = json!("Allow");
            }
        }
        if dice.chance(25) {
            let mut copy = object.clone();
            copy["metadata"]["name"] = json!(format!("z{}", str_of(&object["metadata"], "name")));
            copy["spec"]["order"] = json!(900.0);
            if dice.chance(30) {
                copy["spec"]["ingress"] = json!([rule(dice, false)]);
            }
            more.push(copy);
        }
        if dice.chance(20) && object["spec"]["ingress"].is_array() {
            let rules = object["spec"]["ingress"].as_array_mut().expect("rules");
            let copies = rules.clone();
            rules.extend(copies);
        }
    }
    objects.extend(more);
    case
}

/// The world without the policies and rules named.
fn without(case: &Value, idle: &[(PolicyName, Idle)]) -> Value {
    let mut case = case.clone();
    let objects = case["resources"].as_array_mut().expect("a list");
    let mut rules: BTreeMap<(String, &str), BTreeSet<usize>> = BTreeMap::new();
    for (name, why) in idle {
        match why {
            Idle::RuleNeverReached(rule, _) => {
                let key = match rule.direction {
                    Direction::Ingress => "ingress",
                    Direction::Egress => "egress",
                };
                rules.entry((name.name.clone(), key)).or_default().insert(rule.index);
            }
            _ => objects.retain(|o| o["kind"] != "GlobalNetworkPolicy" || name_of(o) != *name),
        }
    }
    for ((name, key), numbers) in rules {
        let of_name = |o: &&mut Value| o["kind"] == "GlobalNetworkPolicy" && name_of(o).name == name;
        let object = objects.iter_mut().find(of_name).expect("the policy of a rule");
        let list = object["spec"][key].as_array_mut().expect("rules");
        let mut number = 0;
        list.retain(|_| {
            number += 1;
            !numbers.contains(&(number - 1))
        });
    }
    case
}

fn word_of(why: &Idle) -> &'static str {
    match why {
        Idle::SelectsNothing => "selects nothing",
        Idle::SelectsPodsOnly => "selects pods only",
        Idle::AllowsOnly => "allows only",
        Idle::ChangesNothing => "changes nothing",
        Idle::NeverReached(_) => "never reached",
        Idle::RuleNeverReached(..) => "rule never reached",
    }
}

#[test]
fn what_does_nothing_can_go() {
    const EACH: usize = 60;
    let mut dice = Dice(0xD1B5_4A32_D192_ED03);
    let (mut packets, mut wrong) = (0, Vec::new());
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    while packets < wanted() && wrong.len() < 5 {
        let case = world_with_more(&mut dice);
        let ours = World::of_facts(&facts(&case, &RESOURCES));
        let policies = items(&case, "resources").filter(|o| o["kind"] == "GlobalNetworkPolicy");
        let found = idle(&ours, &policies.map(name_of).collect());
        assert!(found.not_asked.is_empty());
        for (_, why) in &found.idle {
            *counts.entry(word_of(why)).or_default() += 1;
        }
        if found.idle.is_empty() {
            continue;
        }
        let less = without(&case, &found.idle);
        let (mut with, mut gone) = (Oracle::new(&case), Oracle::new(&less));
        for _ in 0..EACH {
            let probe = probe(&mut dice);
            packets += 1;
            let (one, other) = (with.probe(&probe).0, gone.probe(&probe).0);
            if one != other {
                wrong.push(format!(
                    "{one} with, {other} without {:?}: {probe}\n{}",
                    found.idle, case["resources"]
                ));
                break;
            }
        }
    }
    println!("oracle: {packets} packets without what does nothing; {counts:?}");
    assert!(wrong.is_empty(), "{} effects:\n{}", wrong.len(), wrong.join("\n"));
    // The law says something only if enough is found.
    for (what, least) in [
        ("selects nothing", 100),
        ("selects pods only", 20),
        ("allows only", 20),
        ("changes nothing", 20),
        ("never reached", 20),
        ("rule never reached", 100),
    ] {
        let found = counts.get(what).copied().unwrap_or_default();
        assert!(found >= least, "{what}: {found} found, {least} at least were expected");
    }
}
