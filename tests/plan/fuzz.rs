//! No text can hurt: any bytes are read without a panic, every place lies in the text, and attacks end fast.

use std::time::{Duration, Instant};

use hostguard::error::{Style, show_diagnostics};
use hostguard::plan::{Document, Given, Lookups};
use proptest::prelude::*;

use super::{files, read};

/// Reads, checks and shows; every place must lie in the text.
fn read_all(bytes: &[u8]) -> usize {
    let document = Document::read("plan.yaml", bytes);
    let text = document.source().text();
    let problems = match document.check(&Given::default(), &Lookups::Pending) {
        Ok(plans) => plans.iter().flat_map(|plan| plan.warnings().to_vec()).collect(),
        Err(problems) => problems,
    };
    for problem in &problems {
        for label in &problem.labels {
            let (start, end) = (label.span.start, label.span.end);
            assert!(
                start <= end && text.get(start..end).is_some(),
                "{start}..{end} of {}: {problem:?}",
                text.len()
            );
        }
    }
    let shown = show_diagnostics(
        document.source(),
        &problems,
        Style {
            unicode: false,
            color: false,
        },
    );
    assert!(!shown.contains(['\x1b', '\r', '\u{202e}', '\u{0}']), "{shown}");
    problems.len()
}

/// Words that are near the language.
fn word() -> impl Strategy<Value = String> {
    let words = [
        "apiVersion: ",
        "hostguard.dev/v1alpha1\n",
        "kind: HostProtection\n",
        "metadata: {name: p}\n",
        "spec:\n",
        "  nodes:\n",
        "    g: ",
        "{all: true}\n",
        "  inputs: ",
        "{a: {type: cidr, default: \"${b}\"}}\n",
        "${",
        "}",
        "[",
        "]",
        "{",
        "&a ",
        "*a ",
        "- ",
        ": ",
        "\"",
        "'",
        "|\n",
        "? ",
        "!t ",
        "<<: ",
        "---\n",
        "...\n",
        "%YAML 1.2\n",
        "\t",
        "\r\n",
        "\u{feff}",
        "é",
        "\u{1F600}",
        "  claims: [{kind: FelixConfiguration, name: default, set: {",
        "  policies: {p: {spec: {",
        "selector: \"a == '\", ",
        "0x1F ",
        "~ ",
        "ingress: [{action: Deny, source: {nets: [",
        "10.0.0.1/8, ",
        "${a}, ",
        "#",
        "\n",
    ];
    prop_oneof![prop::sample::select(words.to_vec()).prop_map(str::to_string), ".{0,6}"]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        read_all(&bytes);
    }

    #[test]
    fn any_words_are_read(words in prop::collection::vec(word(), 0..40)) {
        read_all(words.concat().as_bytes());
    }

    #[test]
    fn a_plan_with_a_wound_is_read(file in 0..6usize, at in 0.0..1.0f64, cut in 0..40usize, put in word()) {
        let mut text = read(&files("plans", ".yaml")[file]);
        let start = text.floor_char_boundary((text.len() as f64 * at) as usize);
        let end = text.floor_char_boundary((start + cut).min(text.len()));
        text.replace_range(start..end, &put);
        read_all(text.as_bytes());
    }
}

#[test]
fn attacks_end_fast() {
    let laughs: String = (0..12)
        .map(|i| {
            let items = vec![
                if i == 0 {
                    "x".to_string()
                } else {
                    format!("*a{}", i - 1)
                };
                10
            ]
            .join(",");
            format!("a{i}: &a{i} [{items}]\n")
        })
        .collect();
    // Each level doubles the height, not the number.
    let tower: String = (0..40)
        .map(|i| {
            format!(
                "a{i}: &a{i} [[[[{}]]]]\n",
                if i == 0 { "x".into() } else { format!("*a{}", i - 1) }
            )
        })
        .collect();
    let attacks = [
        ("laughs", laughs.into_bytes()),
        ("tower", tower.into_bytes()),
        ("brackets", b"[".repeat(100_000)),
        ("braces", b"{a: ".repeat(100_000)),
        ("dashes", b"- ".repeat(100_000)),
        (
            "keys",
            (0..20_000)
                .map(|i| format!("k{i}: v\n"))
                .collect::<String>()
                .into_bytes(),
        ),
        ("one key", "k: v\n".repeat(3_000).into_bytes()),
        (
            "a long line",
            [
                b"kind: HostProtection\nspec: \"".as_slice(),
                &b"x".repeat(2_000_000),
                b"\"\n",
            ]
            .concat(),
        ),
        (
            "a long key",
            [b"kind: HostProtection\n".as_slice(), &b"x".repeat(1_000), b": 1\n"].concat(),
        ),
        (
            "unclosed quote",
            [b"a: \"".as_slice(), &b"x\n".repeat(100_000)].concat(),
        ),
        ("zeros", vec![0; 1 << 20]),
        ("too large", b"#\n".repeat(5 << 20)),
        ("gzip", vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]),
        (
            "anchors",
            (0..5_000)
                .map(|i| format!("- &a{i} x\n"))
                .collect::<String>()
                .into_bytes(),
        ),
    ];
    for (name, bytes) in attacks {
        let start = Instant::now();
        assert!(read_all(&bytes) > 0, "{name} is not refused");
        let took = start.elapsed();
        // all of them together take two seconds; what does not end takes more than a busy machine ever does
        assert!(took < Duration::from_secs(60), "{name} took {took:?}");
    }
}
