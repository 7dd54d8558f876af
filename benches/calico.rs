//! How fast Calico's rules are asked: selectors, address sets beside other crates, validation.
//!
//! `cargo bench --bench calico`. Prints one table; the best of five runs each.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use hostguard::calico;
use hostguard::net::{AddressSet, Cidr};
use hostguard::selector::Selector;
use range_set_blaze::RangeSetBlaze;
use serde_json::json;

fn best(mut run: impl FnMut()) -> Duration {
    (0..5)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed()
        })
        .min()
        .expect("five runs")
}

fn row(what: &str, took: Duration, per: usize) {
    let each = took.as_nanos() as f64 / per as f64;
    println!("{what:<58} {:>9.1} ms {each:>9.0} ns each", took.as_secs_f64() * 1e3);
}

fn main() {
    selectors();
    sets();
    validation();
}

fn selectors() {
    let texts: Vec<String> = (0..10_000)
        .map(|i| {
            let (zone, role) = (i % 7, i % 97);
            format!(
                "zone == 'z{zone}' && (role in {{'r{role}', 'web'}} || !has(owner)) && name starts with 'n{}'",
                i % 10
            )
        })
        .collect();
    let labels: Vec<BTreeMap<String, String>> = (0..1_000)
        .map(|i| {
            let pairs = [
                ("zone", format!("z{}", i % 7)),
                ("role", format!("r{}", i % 97)),
                ("name", format!("n{i}")),
            ];
            pairs.into_iter().map(|(key, value)| (key.to_string(), value)).collect()
        })
        .collect();
    let parsed: Vec<Selector> = texts.iter().map(|text| Selector::parse(text).expect("valid")).collect();
    row(
        "10,000 selectors parsed",
        best(|| {
            for text in &texts {
                black_box(Selector::parse(text).expect("valid"));
            }
        }),
        texts.len(),
    );
    // each selector on one label set in ten: 1,000,000 evaluations; and all of them once
    row(
        "10,000 selectors on 1,000 label sets, all evaluations",
        best(|| {
            let mut matched = 0_usize;
            for selector in &parsed {
                for set in &labels {
                    matched += usize::from(selector.matches(set));
                }
            }
            black_box(matched);
        }),
        texts.len() * labels.len(),
    );
}

fn sets() {
    let cidrs = |offset: u32| -> Vec<Cidr> {
        let text = |i: u32| {
            format!(
                "{}.{}.{}.0/24",
                10 + (i * 7 + offset) % 90,
                (i * 13) % 256,
                (i * 29 + offset) % 256
            )
        };
        (0..1_000).map(|i| Cidr::parse(&text(i)).expect("valid")).collect()
    };
    let (one, two) = (cidrs(0), cidrs(3));
    let (a, b) = (AddressSet::from_cidrs(&one), AddressSet::from_cidrs(&two));
    row(
        "1,000 networks: build",
        best(|| drop(black_box(AddressSet::from_cidrs(&one)))),
        1,
    );
    row("1,000 networks: union", best(|| drop(black_box(a.union(&b)))), 1);
    row(
        "1,000 networks: intersect",
        best(|| drop(black_box(a.intersect(&b)))),
        1,
    );
    row(
        "1,000 networks: complement",
        best(|| drop(black_box(a.complement()))),
        1,
    );
    let blaze = |cidrs: &[Cidr]| -> RangeSetBlaze<u32> {
        let ranges = cidrs.iter().map(|cidr| {
            let std::net::IpAddr::V4(first) = cidr.network() else {
                unreachable!("IPv4 above")
            };
            u32::from(first)..=u32::from(first) | 0xff
        });
        ranges.collect()
    };
    let (c, d) = (blaze(&one), blaze(&two));
    row("range-set-blaze: build", best(|| drop(black_box(blaze(&one)))), 1);
    row("range-set-blaze: union", best(|| drop(black_box(&c | &d))), 1);
    row("range-set-blaze: intersect", best(|| drop(black_box(&c & &d))), 1);
    row("range-set-blaze: complement", best(|| drop(black_box(!&c))), 1);
}

fn validation() {
    let rules: Vec<_> = (0..10)
        .map(|i| {
            json!({"action": "Deny", "protocol": "TCP", "source": {"notNets": [format!("10.9.{i}.0/24")]},
                   "destination": {"ports": [30_000 + i], "selector": "role == 'web'"}})
        })
        .collect();
    let policy = json!({
        "apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy", "metadata": {"name": "security.p"},
        "spec": {"tier": "security", "order": 100, "selector": "host-end-point == 'test'", "preDNAT": true,
                 "applyOnForward": true, "types": ["Ingress"], "ingress": rules},
    });
    row(
        "2,000 policies of 10 rules validated",
        best(|| {
            for _ in 0..2_000 {
                black_box(calico::validate(&policy));
            }
        }),
        2_000,
    );
}
