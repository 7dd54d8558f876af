//! Law 6 on very many small change sets, and how often the search misses an order that there is.
//!
//! Each change set has its own seed, its number, so that one of them can be looked at alone and every run looks at the
//! same ones. `HOSTGUARD_ORACLE_ORDERS` asks for more than the usual number.

use std::thread;

use super::*;

/// Change sets in the ordinary run.
const SETS: usize = 10_000;
/// Of these, those for which every order is looked at where the search finds none.
const SEARCHED: usize = 1_000;
const STEPS: std::ops::RangeInclusive<usize> = 2..=7;
/// Packets for each change set.
const ASKED: usize = 14;

/// A world of few objects.
#[derive(Clone, Copy)]
struct Size {
    nodes: usize,
    /// Nodes and pods have addresses of the second family.
    six: bool,
}

impl Size {
    fn roll(dice: &mut Dice) -> Size {
        Size {
            nodes: 1 + dice.roll(NODES.len()),
            six: dice.chance(20),
        }
    }

    /// Takes away what such a world does not have.
    fn narrow(self, mut objects: Vec<Value>) -> Vec<Value> {
        let mut policies = 0;
        objects.retain(|object| match str_of(object, "kind") {
            "Node" => NODES[..self.nodes]
                .iter()
                .any(|node| object["metadata"]["name"] == node.0),
            "GlobalNetworkPolicy" => {
                policies += 1;
                policies <= 3
            }
            _ => true,
        });
        for object in &mut objects {
            if object["kind"] == "Pod" && self.nodes == 1 {
                object["spec"]["nodeName"] = json!(NODES[0].0);
            }
            for (list, inside) in [
                ("/status/addresses", "address"),
                ("/status/podIPs", "ip"),
                ("/spec/expectedIPs", ""),
            ] {
                if let Some(Value::Array(list)) = object.pointer_mut(list).filter(|_| !self.six) {
                    let text = |entry: &Value| entry.as_str().unwrap_or_else(|| str_of(entry, inside)).to_string();
                    list.retain(|entry| !text(entry).contains(':'));
                }
            }
        }
        objects
    }
}

/// A policy of few words, of the sort that people write.
fn plain_policy(dice: &mut Dice, number: usize) -> Value {
    let rule = |dice: &mut Dice| {
        let mut rule = json!({"action": dice.one(&["Allow", "Allow", "Deny", "Pass"])});
        if dice.chance(80) {
            rule["protocol"] = json!("TCP");
            if dice.chance(80) {
                rule["destination"] = json!({"ports": [PORTS[dice.roll(8)]]});
            }
        }
        match dice.roll(4) {
            0 => rule["source"] = json!({"nets": [dice.one(&["198.51.100.0/24", "10.8.0.0/16", "0.0.0.0/0"])]}),
            1 => rule["source"] = json!({"selector": "set == 'trusted'"}),
            _ => {}
        }
        rule
    };
    let mut spec = json!({"selector": dice.one(&["host-end-point == 'test'", "role == 'front'", "all()"]),
        "order": f64::from(u32::try_from(number).expect("small")), "types": ["Ingress"]});
    match dice.roll(4) {
        0 | 1 => (spec["preDNAT"], spec["applyOnForward"]) = (json!(true), json!(true)),
        2 => spec["applyOnForward"] = json!(true),
        _ => {}
    }
    if dice.chance(20) {
        spec["tier"] = json!("security");
    }
    let rules = 1 + dice.roll(2);
    spec["ingress"] = (0..rules).map(|_| rule(dice)).collect();
    of_kind("GlobalNetworkPolicy", &format!("p{number}"), json!({}), spec)
}

fn any_policy(dice: &mut Dice, number: usize) -> Value {
    match dice.roll(4) {
        0 => global_policy(dice, number),
        1 => on_ports(dice, number),
        _ => plain_policy(dice, number),
    }
}

fn small_before(dice: &mut Dice) -> Vec<Value> {
    let mut objects: Vec<Value> = (0..NODES.len()).map(|at| node(dice, at)).collect();
    objects.push(controllers(dice));
    let service = dice.chance(50);
    objects.extend(
        workload()
            .into_iter()
            .filter(|object| service || object["kind"] != "Service"),
    );
    if dice.chance(50) {
        let labels = json!({"set": dice.one(&["trusted", "other"])});
        let nets = dice.some(&["198.51.100.0/24", "10.9.0.4/32", "fd00:7::/64"], 2);
        objects.push(of_kind("GlobalNetworkSet", "s1", labels, json!({"nets": nets})));
    }
    if dice.chance(25) {
        let spec = json!({"order": 100.0, "defaultAction": dice.one(&["Deny", "Pass"])});
        objects.push(of_kind("Tier", "security", json!({}), spec));
    }
    if dice.chance(20) {
        objects.push(settings(dice));
    }
    if dice.chance(20) {
        let own = own_endpoint(dice, 0);
        objects.push(own);
    }
    let policies = dice.roll(3);
    objects.extend((0..policies).map(|number| any_policy(dice, number)));
    objects
}

fn small_after(dice: &mut Dice, before: &[Value]) -> Vec<Value> {
    let mut objects = Vec::new();
    for object in before {
        let kind = str_of(object, "kind");
        let stays = ["Node", "KubeControllersConfiguration", "Pod", "Namespace"].contains(&kind);
        match dice.roll(100) {
            0..=19 if !stays => {}
            20..=44 if kind == "GlobalNetworkPolicy" => {
                let number = str_of(&object["metadata"], "name")[1..]
                    .parse()
                    .expect("p and a number");
                objects.push(any_policy(dice, number));
            }
            20..=44 => objects.push(other(dice, object)),
            _ => objects.push(object.clone()),
        }
    }
    let has = |objects: &[Value], kind: &str| objects.iter().any(|object| object["kind"] == kind);
    for number in 2..2 + dice.roll(3) {
        objects.retain(|object| object["metadata"]["name"] != format!("p{number}"));
        objects.push(any_policy(dice, number));
    }
    if dice.chance(20) && !has(&objects, "Tier") {
        let spec = json!({"order": 100.0, "defaultAction": dice.one(&["Deny", "Pass"])});
        objects.push(of_kind("Tier", "security", json!({}), spec));
    }
    if dice.chance(40) && !has(&objects, "Service") {
        objects.extend(workload().into_iter().filter(|object| object["kind"] == "Service"));
    }
    if dice.chance(20) && !has(&objects, "HostEndpoint") {
        let own = own_endpoint(dice, 0);
        objects.push(own);
    }
    objects
}

/// One change set with questions about it, by its number.
fn numbered(number: usize) -> (Pair, Vec<Question>, Dice) {
    let seed = u64::try_from(number).expect("a number").wrapping_add(1);
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    dice.roll(2);
    loop {
        let size = Size::roll(&mut dice);
        let old = size.narrow(small_before(&mut dice));
        let new = size.narrow(small_after(&mut dice, &old));
        let live = state_of(&old);
        let live = if dice.chance(80) { live.settled() } else { live };
        let steps = steps(&old, &new, &live);
        if !STEPS.contains(&steps.len()) {
            continue;
        }
        let set = ChangeSet {
            steps,
            ..ChangeSet::default()
        };
        let question = |_| {
            let six = size.six && dice.chance(50);
            question(&mut dice, size.nodes, six)
        };
        let questions = (0..ASKED).map(question).collect();
        return (Pair { live, set }, questions, dice);
    }
}

/// What a number of change sets came to.
#[derive(Default)]
struct Tally {
    found: usize,
    stuck: usize,
    steps: usize,
    states: usize,
    turned: usize,
    turned_wrong: usize,
    wrong: Vec<String>,
}

impl Tally {
    fn and(mut self, other: Tally) -> Tally {
        self.wrong.extend(other.wrong);
        Tally {
            found: self.found + other.found,
            stuck: self.stuck + other.stuck,
            steps: self.steps + other.steps,
            states: self.states + other.states,
            turned: self.turned + other.turned,
            turned_wrong: self.turned_wrong + other.turned_wrong,
            wrong: self.wrong,
        }
    }

    fn look(&mut self, number: usize) {
        let (pair, questions, mut dice) = numbered(number);
        let sequence = Sequence::find(&pair.live, &pair.set, &Terms::default()).expect("all is readable");
        let ends = pair.ends(&questions);
        if number.is_multiple_of(16) {
            let turned = plain(pair.set.steps.iter().rev().cloned());
            self.turned += 1;
            self.turned_wrong += usize::from(!worse_at(&ends, &on_the_way(&pair.live, &turned)).is_empty());
        }
        let Ok(sequence) = sequence else {
            self.stuck += 1;
            return;
        };
        let order = sequence.steps();
        needs_come_first(order, &pair.set);
        let mut passed = on_the_way(&pair.live, order);
        passed.states.extend(half_way(&pair.live, order, &mut dice).states);
        let worse = worse_at(&ends, &passed);
        self.found += 1;
        self.steps += order.len();
        self.states += passed.states.len();
        if !worse.is_empty() {
            self.wrong
                .push(format!("change set {number}: {}\n{}", shown(order), worse.join("\n")));
        }
    }
}

/// All numbers, on as many threads as there are processors.
fn on_threads<T: Send>(sets: usize, work: impl Fn(&mut dyn Iterator<Item = usize>) -> T + Sync) -> Vec<T> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let work = &work;
        let started: Vec<_> = (0..threads)
            .map(|first| scope.spawn(move || work(&mut (first..sets).step_by(threads))))
            .collect();
        started.into_iter().map(|one| one.join().expect("no panic")).collect()
    })
}

fn sets(usual: usize) -> usize {
    let asked = std::env::var("HOSTGUARD_ORACLE_ORDERS").ok();
    asked.map_or(usual, |n| n.parse().expect("HOSTGUARD_ORACLE_ORDERS is a number"))
}

/// Law 6.
#[test]
fn ten_thousand_small_change_sets_are_never_worse_than_their_ends() {
    let sets = sets(SETS);
    let tallies = on_threads(sets, |numbers| {
        let mut tally = Tally::default();
        numbers.for_each(|number| tally.look(number));
        tally
    });
    let all = tallies.into_iter().fold(Tally::default(), Tally::and);
    println!(
        "small change sets: {sets}, {} found of {} steps and {} states, {} stuck, {} wrong; turned round, {} of {} are",
        all.found,
        all.steps,
        all.states,
        all.stuck,
        all.wrong.len(),
        all.turned_wrong,
        all.turned
    );
    assert!(
        all.wrong.is_empty(),
        "{}",
        all.wrong[..all.wrong.len().min(3)].join("\n")
    );
    let enough = all.found * 2 > sets && all.steps * 2 > all.found * 5 && all.states > all.steps;
    assert!(enough, "too little was looked at to say anything");
    assert!(
        all.turned_wrong * 20 > all.turned,
        "hardly any order is worse: the test sees nothing"
    );
}

/// Where controllers were behind from the start and came in between.
#[test]
fn controllers_that_are_behind_are_waited_for() {
    let mut tally = Tally::default();
    for number in [3270, 8638] {
        tally.look(number);
    }
    assert!(tally.wrong.is_empty(), "{}", tally.wrong.join("\n"));
    assert_eq!(
        (tally.found, tally.stuck),
        (2, 0),
        "the numbers stand for other change sets now"
    );
}

/// What looking at every order came to.
enum Every {
    /// This one is safe.
    Found(Vec<Key>),
    None,
    /// There were too many.
    GaveUp,
}

/// Orders that are looked at for one change set.
const ORDERS: usize = 4_000;

/// Whether some order is safe, by the judge: each order is asked for by needs that allow no other. How far an order came
/// rules out all that begin alike.
fn every_order(pair: &Pair) -> Every {
    let count = pair.set.steps.len();
    let mut order: Vec<usize> = (0..count).collect();
    for _ in 0..ORDERS {
        let mut steps: Vec<Change> = order.iter().map(|at| pair.set.steps[*at].clone()).collect();
        for at in 1..count {
            let (key, reason) = (steps[at - 1].key.clone(), "this order".to_string());
            steps[at].needs.push(Need { key, reason });
        }
        let keys = steps.iter().map(|step| step.key.clone()).collect();
        let set = ChangeSet {
            steps,
            ..ChangeSet::default()
        };
        match Sequence::find(&pair.live, &set, &Terms::default()).expect("all is readable") {
            Ok(_) => return Every::Found(keys),
            Err(stuck) => {
                if !next_but(&mut order, stuck.done.len()) {
                    return Every::None;
                }
            }
        }
    }
    Every::GaveUp
}

/// The next permutation that has another number in that place.
fn next_but(order: &mut [usize], place: usize) -> bool {
    order[place + 1..].sort_unstable_by(|a, b| b.cmp(a));
    let Some(at) = (1..order.len()).rev().find(|at| order[at - 1] < order[*at]) else {
        return false;
    };
    let next = (at..order.len()).rev().find(|other| order[*other] > order[at - 1]);
    order.swap(at - 1, next.expect("the one after it is greater"));
    order[at..].reverse();
    true
}

/// Where some order is safe, the search finds one too.
#[test]
fn the_search_finds_an_order_where_there_is_one() {
    let sets = sets(SEARCHED);
    let looked = on_threads(sets, |numbers| {
        let (mut found, mut none, mut gave_up, mut missed) = (0, 0, 0, Vec::new());
        for number in numbers {
            let (pair, ..) = numbered(number);
            let sequence = Sequence::find(&pair.live, &pair.set, &Terms::default()).expect("all is readable");
            match sequence {
                Ok(_) => found += 1,
                Err(_) => match every_order(&pair) {
                    Every::Found(order) => missed.push((number, order)),
                    Every::None => none += 1,
                    Every::GaveUp => gave_up += 1,
                },
            }
        }
        (found, none, gave_up, missed)
    });
    let (mut found, mut none, mut gave_up, mut missed) = (0, 0, 0, Vec::new());
    for one in looked {
        (found, none, gave_up) = (found + one.0, none + one.1, gave_up + one.2);
        missed.extend(one.3);
    }
    let solvable = found + missed.len();
    println!(
        "orders of up to {} steps: of {solvable} change sets that have one the search missed {} ({:.2} %); {none} have \
         none, {gave_up} have too many orders to look at each",
        STEPS.end(),
        missed.len(),
        100.0 * missed.len() as f64 / solvable as f64
    );
    assert!(found > 0 && none > 0, "the test must see both");
    assert!(gave_up * 20 < sets, "too many were given up to say anything");
    assert!(missed.len() * 100 < solvable, "{missed:?}");
}

#[test]
fn permutations_are_left_out_by_how_they_begin() {
    let mut order = vec![0, 1, 2];
    let mut seen = vec![order.clone()];
    while next_but(&mut order, 2) {
        seen.push(order.clone());
    }
    assert_eq!(seen.len(), 6);
    let mut order = vec![0, 1, 2];
    assert!(next_but(&mut order, 0) && order == [1, 0, 2]);
    assert!(next_but(&mut order, 1) && order == [1, 2, 0]);
    assert!(next_but(&mut order, 0) && order == [2, 0, 1]);
}
