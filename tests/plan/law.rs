//! Law 9: `check` reports every problem that fixing them one by one would reveal.
//!
//! A right plan gets several independent mistakes; one run must report what each of them alone is reported as.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::errors;

const PLAN: &str = r#"apiVersion: hostguard.dev/v1alpha1
kind: HostProtection
metadata: { name: the-plan }
spec:
  cluster:
    platform: eks
    name: shop
  inputs:
    trusted: { type: cidr, default: 203.0.113.0/24 }
    many: { type: cidrs, default: [10.0.0.0/8, "${trusted}"] }
    vm: { type: ip, lookup: { from: node/address, group: one, address: InternalIP } }
    port: { type: port, default: 30080 }
    role: { type: string, default: partner }
  hostEndpoints:
    autoCreate: Enabled
    flowLogs: IfSupported
  nodes:
    one: { pick: { address: ExternalIP, count: 1 }, labels: { host-end-point: test } }
    linux: { matchLabels: { kubernetes.io/os: linux } }
    named: { names: [worker-1, worker-2] }
  services:
    web: { namespace: shop, expose: deployment/web, ports: [{ port: 80, targetPort: 8080, nodePort: "${port}" }] }
    old: { existing: shop/old }
  tiers:
    security: { order: 500, defaultAction: Deny }
  networkSets:
    partners: { labels: { role: "${role}" }, nets: ["${many}", 192.0.2.0/24] }
  policies:
    security.web:
      spec:
        order: 100
        selector: host-end-point == 'test'
        preDNAT: true
        applyOnForward: true
        ingress:
          - action: Allow
            protocol: TCP
            source: { nets: ["${trusted}"] }
            destination: { ports: ["${port}"] }
          - action: Deny
            protocol: TCP
            destination: { ports: [30080] }
    security.partners:
      spec:
        selector: all()
        ingress:
          - action: Allow
            source: { selector: role == 'partner' }
  claims:
    - kind: FelixConfiguration
      name: default
      set:
        failsafeInboundHostPorts: [{ protocol: tcp, port: 22 }]
        logSeverityScreen: Info
"#;

/// Text to find and what to put there; the second field groups mistakes that touch the same line.
const MISTAKES: &[(&str, &str)] = &[
    ("name: the-plan", "name: The_Plan"),
    ("platform: eks", "platform: EKS"),
    ("    name: shop\n", "    nmae: shop\n"),
    ("203.0.113.0/24 }", "203.0.113.1/24 }"),
    ("[10.0.0.0/8, ", "[10.0.0.0, "),
    ("group: one, ", "group: two, "),
    ("default: 30080", "default: 70000"),
    ("autoCreate: Enabled", "autoCreate: on"),
    ("flowLogs: IfSupported", "flowLog: IfSupported"),
    ("count: 1 }", "count: \"1\" }"),
    ("host-end-point: test }", "host-end-point: yes }"),
    ("kubernetes.io/os: linux", "kubernetes.io//os: linux"),
    ("worker-2]", "worker-1]"),
    ("expose: deployment/web", "expose: web"),
    ("targetPort: 8080", "targetPort: 0"),
    ("nodePort: \"${port}\"", "nodePort: \"${prt}\""),
    ("existing: shop/old", "existing: shop"),
    ("order: 500", "order: \"500\""),
    ("defaultAction: Deny", "defaultAction: deny"),
    ("labels: { role: ", "lables: { role: "),
    ("nets: [\"${many}\", 192.0.2.0/24]", "Nets: [\"${many}\", 192.0.2.1/24]"),
    ("order: 100", "order: 0x64"),
    ("host-end-point == 'test'", "host-end-point = 'test'"),
    ("        applyOnForward: true\n", ""),
    (
        "action: Allow\n            protocol: TCP",
        "action: allow\n            protocol: TCP",
    ),
    (
        "source: { nets: [\"${trusted}\"]",
        "source: { Nets: [\"${trusted}\", 1.2.3.4]",
    ),
    (
        "protocol: TCP\n            destination: { ports: [30080] }",
        "destination: { ports: [30080] }",
    ),
    ("selector: all()\n", "selector: all()\n        tier: other\n"),
    ("role == 'partner'", "role == 'partner"),
    ("protocol: tcp, port: 22", "protocol: sctp, port: 22"),
    ("logSeverityScreen: Info", "logSeverityScren: Info"),
    (
        "  claims:\n",
        "  expect: [{ from: others, to: nowhere, is: blocked }]\n  claims:\n",
    ),
    ("  tiers:\n", "  tiers:\n    empty:\n"),
    ("  services:\n", "  services:\n    web: { existing: a/b }\n"),
];

/// What is reported, without places, which other mistakes shift.
fn said(text: &str) -> BTreeSet<String> {
    errors(text)
        .iter()
        .map(|problem| format!("{} {}", problem.code, problem.message))
        .collect()
}

fn with(mistakes: &[usize]) -> String {
    let mut text = PLAN.to_string();
    for index in mistakes {
        let (from, to) = MISTAKES[*index];
        text = text.replacen(from, to, 1);
    }
    text
}

#[test]
fn the_plan_is_right_and_each_mistake_alone_is_found() {
    assert_eq!(said(PLAN), BTreeSet::new());
    for (index, (from, to)) in MISTAKES.iter().enumerate() {
        assert!(PLAN.contains(from), "{from}");
        assert!(!said(&with(&[index])).is_empty(), "not found: {from} -> {to}");
    }
}

/// Fixing them one by one, in any order: nothing may come up that the first run did not say.
#[test]
fn all_mistakes_at_once_hide_none() {
    let all: Vec<usize> = (0..MISTAKES.len()).collect();
    let together = said(&with(&all));
    for index in all {
        let alone = said(&with(&[index]));
        let hidden: Vec<&String> = alone.difference(&together).collect();
        assert!(
            hidden.is_empty(),
            "{:?} is hidden: {hidden:?}\n{together:#?}",
            MISTAKES[index]
        );
    }
}

#[test]
fn a_bad_value_does_not_make_its_neighbours_wrong() {
    for (from, to, code) in [
        (
            "protocol: TCP\n            destination",
            "protocol: \"${proto}\"\n            destination",
            "HG0302",
        ),
        ("applyOnForward: true", "applyOnForward: yes", "HG0106"),
        ("applyOnForward: true", "applyOnForward: \"${forward}\"", "HG0302"),
        ("action: Deny", "action: \"${action}\"", "HG0302"),
        ("order: 100", "order: 0144", "HG0106"),
        ("nets: [\"${trusted}\"]", "nets: [\"${nobody}\"]", "HG0302"),
    ] {
        let said = said(&PLAN.replacen(from, to, 1));
        assert_eq!(said.len(), 1, "{to}: {said:?}");
        assert!(said.iter().all(|said| said.starts_with(code)), "{to}: {said:?}");
    }
}

/// Nor may one mistake be said twice in different words because another is there.
#[test]
fn no_two_mistakes_make_a_third() {
    let alone: Vec<BTreeSet<String>> = (0..MISTAKES.len()).map(|index| said(&with(&[index]))).collect();
    let mut invented = Vec::new();
    for first in 0..MISTAKES.len() {
        for second in first + 1..MISTAKES.len() {
            let together = said(&with(&[first, second]));
            let more = together
                .iter()
                .filter(|said| !alone[first].contains(*said) && !alone[second].contains(*said));
            invented.extend(more.map(|more| format!("{:?} {:?}: {more}", MISTAKES[first], MISTAKES[second])));
        }
    }
    assert!(invented.is_empty(), "{}", invented.join("\n"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_mistake_hides_another(mistakes in prop::sample::subsequence((0..MISTAKES.len()).collect::<Vec<_>>(), 2..8)) {
        let together = said(&with(&mistakes));
        for index in &mistakes {
            for message in said(&with(&[*index])) {
                prop_assert!(together.contains(&message), "{:?} hides {message}\n{together:#?}", mistakes);
            }
        }
    }

    #[test]
    fn fixing_them_one_by_one_reveals_nothing_new(
        mistakes in prop::sample::subsequence((0..MISTAKES.len()).collect::<Vec<_>>(), 2..8).prop_shuffle(),
    ) {
        let first = said(&with(&mistakes));
        for fixed in 1..mistakes.len() {
            let mut left = mistakes[fixed..].to_vec();
            left.sort_unstable();
            for message in said(&with(&left)) {
                prop_assert!(first.contains(&message), "fixing {fixed} of {mistakes:?} reveals {message}\n{first:#?}");
            }
        }
    }
}
