//! Names and texts from outside cannot become markup, in any form of an answer.
//!
//! A plan by a stranger and a cluster with hostile names are answered in every form; each form has an oracle of its own,
//! which knows what may stand there and nothing of how it is escaped.

use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::golden::folder_with_cluster;
use crate::review::{junit, sarif_schema, wanted_by_github};
use crate::support::command::{finish, hostguard};

/// What has meaning to somebody: a terminal, Markdown, HTML, XML, JSON, SARIF, GitHub.
const FRAGMENTS: &[&str] = &[
    "`",
    "```",
    "|",
    "||",
    "\n",
    "\n\n",
    "\r",
    "\u{85}",
    "\u{2028}",
    "\t",
    "#",
    "\n## OPENS\n",
    "<b>",
    "</details>",
    "<details>",
    "<script>alert(1)</script>",
    "<img src=x onerror=y>",
    "![x](https://example.com/x.png)",
    "[click](https://example.com)",
    "[a][b]",
    "@admin",
    "@org/team",
    "#1",
    "https://example.com",
    "javascript:x",
    "]]>",
    "<![CDATA[",
    "</failure>",
    "\"",
    "'",
    "&",
    "&amp;",
    "&#x0;",
    "<!--",
    "-->",
    "<?xml?>",
    "{0}",
    "{{",
    "${x}",
    "\u{1b}[2J",
    "\u{1b}]0;t\u{7}",
    "\u{0}",
    "\u{8}",
    "\u{7f}",
    "\u{9b}",
    "\u{202e}",
    "\u{200b}",
    "\u{feff}",
    "\u{ffff}",
    "\u{fffe}",
    "\\",
    "\\n",
    "%0a",
    "::error::x",
    "##vso[x]",
    "| **opens** | `x` | y |",
    "a",
    "Ä",
    "東",
    "👩‍💻",
    " ",
    "1",
];

fn text() -> impl Strategy<Value = String> {
    let fragment = proptest::sample::select(FRAGMENTS);
    proptest::collection::vec(fragment, 1..6).prop_map(|parts| parts.concat())
}

/// A cluster whose names are the texts, and a plan that says them.
fn prepare(folder: &Path, texts: &[String]) {
    let file = folder.join("cluster.json");
    let read = std::fs::read_to_string(&file).expect("the shared cluster");
    let mut cluster: Value = serde_json::from_str(&read).expect("JSON");
    cluster["cluster"]["name"] = json!(texts[0]);
    let name = texts[1].replace('/', "-");
    let mut policy = json!({
        "apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy",
        "metadata": {"name": name, "uid": "u1", "resourceVersion": "5", "labels": {"a": texts[2]}},
        "spec": {"tier": "default", "order": 1, "selector": "all()", "preDNAT": true, "applyOnForward": true,
            "types": ["Ingress"],
            "ingress": [{"action": "Deny", "protocol": "TCP", "source": {"nets": [texts[3]]}, "destination": {"ports": [9100]}}]},
    });
    cluster["objects"][format!("GlobalNetworkPolicy/{name}")] = policy.take();
    let set = texts[4].replace('/', "-");
    cluster["objects"][format!("GlobalNetworkSet/{set}")] = json!({
        "apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkSet",
        "metadata": {"name": set, "uid": "u2", "resourceVersion": "6"}, "spec": {"nets": ["203.0.113.0/24"]},
    });
    cluster["objects"]["Node/ip-10-0-1-5"]["metadata"]["labels"]["host-end-point"] = json!(texts[5]);
    // a resource of the plan, and so a label of its graph
    let mut node = cluster["objects"]["Node/ip-10-0-1-5"].clone();
    let name = format!("n{}", texts[2].replace('/', "-"));
    node["metadata"]["name"] = json!(name);
    node["metadata"]["uid"] = json!("u3");
    node["status"]["addresses"] = json!([{"type": "InternalIP", "address": "10.0.1.77"}]);
    cluster["objects"][format!("Node/{name}")] = node;
    std::fs::write(&file, cluster.to_string()).expect("can be written");
    // JSON is YAML; a plan may hold any text in quotes but control characters, which are refused
    let plan = json!({
        "apiVersion": "hostguard.dev/v1alpha1", "kind": "HostProtection", "metadata": {"name": "p"},
        "spec": {
            "cluster": {"platform": "generic", "name": texts[6]},
            "hostEndpoints": {"autoCreate": "Enabled"},
            "nodes": {"g": {"names": ["ip-10-0-1-5"], "labels": {"host-end-point": "test"}},
                "h": {"all": true, "labels": {"seen": "yes"}}},
            "policies": {"closed": {"spec": {"order": 10, "selector": "host-end-point == \"test\"", "preDNAT": true,
                "applyOnForward": true, "ingress": [{"action": "Deny", "protocol": "TCP",
                "source": {"nets": ["203.0.113.0/24"]}, "destination": {"ports": [9100]}}]}}},
            "gates": {
                "levels": {"HG0533": "warning"},
                "rules": {
                    "no": {"expression": "answer.summary.create == 0", "message": texts[7], "level": "warning"},
                    "why": {"expression": format!("answer[{}] == 1", json!(texts[8])), "message": texts[8], "level": "note"},
                },
            },
            "waivers": [
                {"code": "HG0533", "subject": "nodes.g", "reason": texts[9], "owner": texts[10], "expires": "2099-12-31"},
                {"code": "HG1001", "subject": texts[11], "reason": texts[9], "owner": texts[10], "expires": "2020-12-31"},
            ],
        },
    });
    std::fs::write(folder.join("plan.yaml"), plan.to_string()).expect("can be written");
}

/// Nothing moves a cursor, hides, or turns text round.
fn plain(text: &str) -> Vec<String> {
    let bad = |c: &char| {
        (c.is_control() && !matches!(c, '\n'))
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    // joined emoji hold one
    let found = text.chars().find(bad);
    found.map(|c| format!("{c:?} in the answer")).into_iter().collect()
}

/// Outside of code nothing is markup but ours; folds are balanced, and rows have as many cells as their head. The first
/// line is a comment that ends on it.
fn markdown(text: &str) -> Vec<String> {
    let (mut wrong, mut fenced, mut folds, mut cells) = (plain(text), false, 0_i32, None);
    let marker = text.lines().next().unwrap_or_default();
    let key = marker
        .strip_prefix("<!-- hostguard:")
        .and_then(|rest| rest.strip_suffix(" -->"));
    if key
        .is_none_or(|key| key.is_empty() || key.contains(|c: char| !(c.is_ascii_alphanumeric() || "-_./".contains(c))))
    {
        wrong.push(format!("no marker: {marker}"));
    }
    if text.len() > 60_000 {
        wrong.push("too long".to_string());
    }
    for drawn in text.split("```mermaid\n").skip(1) {
        wrong.extend(mermaid(drawn.split("```").next().unwrap_or_default()));
    }
    for line in text.lines().skip(1) {
        if line.starts_with("```") {
            if fenced && line != "```" {
                wrong.push(format!("a fence within a fence: {line}"));
            }
            fenced = !fenced;
            continue;
        }
        if fenced {
            if line.contains("```") {
                wrong.push(format!("a fence can end here: {line}"));
            }
            continue;
        }
        let mut outside = String::new();
        for (nth, part) in line.split('`').enumerate() {
            if nth % 2 == 0 {
                outside.push_str(part);
            } else if part.contains('|') && line.starts_with('|') {
                wrong.push(format!("a cell ends within code: {line}"));
            }
        }
        if line.matches('`').count() % 2 == 1 {
            wrong.push(format!("code does not end: {line}"));
        }
        if let Some(rest) = outside.strip_prefix("<details><summary>") {
            folds += 1;
            outside = rest.replace("</summary>", "");
        }
        if outside == "</details>" {
            folds -= 1;
            continue;
        }
        if line.starts_with('|') {
            outside = outside.replacen("<br>", "", 1);
        }
        if outside.contains(['<', '>', '@', '&', '\\', '#']) || outside.contains("](") || outside.contains("://") {
            wrong.push(format!("markup: {line}"));
        }
        if outside.starts_with('|') {
            let here = outside.matches('|').count();
            if *cells.get_or_insert(here) != here {
                wrong.push(format!("a row of another table: {line}"));
            }
        } else {
            cells = None;
        }
        if folds < 0 {
            wrong.push("a fold ends twice".to_string());
        }
    }
    if fenced || folds != 0 {
        wrong.push("a fence or a fold does not end".to_string());
    }
    wrong
}

/// Nodes and edges of ours, and labels that are letters, harmless signs and codes.
fn mermaid(text: &str) -> Vec<String> {
    let mut wrong = plain(text);
    let number = |id: &str| id.strip_prefix('n').is_some_and(|digits| digits.parse::<u16>().is_ok());
    for (nth, line) in text.lines().enumerate() {
        let parts: Vec<&str> = line.split('"').collect();
        let known = match parts.as_slice() {
            ["flowchart TB"] => nth == 0,
            [class] => class.starts_with("  classDef ") && !class.contains([';', '[', '(']),
            [node, _, class] if class.starts_with("]:::") => node.trim().strip_suffix('[').is_some_and(number),
            [from, _, to] => {
                let from = from.trim().split_once(' ');
                let arrow = from.is_some_and(|(id, arrow)| number(id) && ["-->|", "-.->|"].contains(&arrow));
                arrow && to.strip_prefix("| ").is_some_and(number)
            }
            _ => false,
        };
        if !known {
            wrong.push(format!("not of ours: {line}"));
        }
        let mut label = parts.get(1).unwrap_or(&"").replacen("<br/>", "", 1);
        while let Some((before, after)) = label.clone().split_once('#') {
            let Some((code, rest)) = after.split_once(';').filter(|(code, _)| code.parse::<u32>().is_ok()) else {
                wrong.push(format!("no code: {line}"));
                break;
            };
            label = format!("{before}{}{rest}", "x".repeat(code.len().min(1)));
        }
        if label.contains(|c: char| !(c.is_alphanumeric() || " -_./:,()=+~".contains(c))) {
            wrong.push(format!("a label with more than text: {line}"));
        }
    }
    wrong
}

/// Quoted strings end where they should, and outside of them stands nothing of anybody else's.
fn dot(text: &str) -> Vec<String> {
    let mut wrong = plain(text);
    for line in text.lines() {
        let (mut outside, mut quoted, mut letters) = (String::new(), false, line.chars());
        while let Some(c) = letters.next() {
            match c {
                '"' => quoted = !quoted,
                '\\' if quoted && !letters.next().is_some_and(|next| "\"\\n".contains(next)) => {
                    wrong.push(format!("an escape of labels: {line}"));
                }
                c if !quoted => outside.push(c),
                _ => {}
            }
        }
        let ours = |word: &str| {
            let number = word.trim_start_matches('n').parse::<u32>().is_ok();
            let words = [
                "",
                "digraph",
                "node",
                "edge",
                "shape=box",
                "style=",
                "fontname=",
                "fontsize=10",
                "label=",
                "fillcolor=",
                "color=",
                "style=dashed",
            ];
            number || words.contains(&word)
        };
        let words = outside.split(|c: char| " [],;{}".contains(c) || c == '>' || c == '-');
        if quoted || !words.clone().all(ours) {
            wrong.push(format!("not of ours: {line}"));
        }
    }
    wrong
}

/// What a page and a picture are made of. None of it loads, links, runs or submits anything.
const TAGS: &str = "html head meta title style body main h1 h2 p span b small ul li div code table thead tbody tr th td svg defs marker path rect text";
const ATTRIBUTES: &str = "lang charset http-equiv content name class data-label xmlns role width height viewBox id refX refY markerWidth markerHeight orient d x y rx marker-end";

/// Tags of ours only, and balanced; quoted attributes of ours; text without markup; styles that load nothing; and, on a
/// page, the policy that forbids the rest.
fn html(text: &str) -> Vec<String> {
    let (mut wrong, mut open, mut rest) = (plain(text), Vec::new(), text);
    let mut said = |what: String| wrong.push(what);
    if let Some(after) = rest.strip_prefix("<!doctype html>\n") {
        rest = after;
        let policy = "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">";
        if rest.matches("http-equiv").count() != 1 || !rest.contains(policy) {
            said("no policy".to_string());
        }
    }
    let entities = |text: &str| {
        let known = ["amp;", "lt;", "gt;", "quot;", "#39;"];
        text.split('&')
            .skip(1)
            .all(|after| known.iter().any(|name| after.starts_with(name)))
    };
    while let Some((before, after)) = rest.split_once('<') {
        if before.contains('>') && open.last() != Some(&"style") || !entities(before) {
            said(format!("text with markup: {before}"));
        }
        let Some((tag, next)) = after.split_once('>') else {
            said(format!("a tag does not end: {after}"));
            break;
        };
        rest = next;
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop() != Some(name) {
                said(format!("{name} ends, and is not open"));
            }
            continue;
        }
        let (name, attributes) = tag
            .trim_end_matches('/')
            .split_once(' ')
            .unwrap_or((tag.trim_end_matches('/'), ""));
        if !TAGS.split(' ').any(|known| known == name) {
            said(format!("tag {name}"));
        }
        let mut attributes = attributes.trim();
        while !attributes.is_empty() {
            let parts = attributes
                .split_once("=\"")
                .and_then(|(name, after)| Some((name, after.split_once('"')?)));
            let Some((name, (value, after))) = parts else {
                said(format!("attributes {attributes}"));
                break;
            };
            if !ATTRIBUTES.split(' ').any(|known| known == name.trim()) || value.contains('<') || !entities(value) {
                said(format!("attribute {name}={value}"));
            }
            attributes = after.trim();
        }
        if !tag.ends_with('/') && name != "meta" {
            open.push(TAGS.split(' ').find(|known| *known == name).unwrap_or("?"));
        }
        if name == "style" {
            let style = rest.split("</style>").next().unwrap_or_default();
            if style.contains('<')
                || style.contains("url(")
                || style.contains('@') && style.replace("@media", "").contains('@')
            {
                said("a style that loads".to_string());
            }
        }
    }
    if !open.is_empty() || rest.contains(['<', '>']) {
        said(format!("{open:?} are open at the end"));
    }
    wrong
}

fn sarif(text: &str) -> Vec<String> {
    let Ok(log) = serde_json::from_str::<Value>(text) else {
        return vec!["not JSON".to_string()];
    };
    let mut wrong: Vec<String> = sarif_schema().iter_errors(&log).map(|e| e.to_string()).collect();
    wrong.extend(wanted_by_github(text));
    let texts = |value: &Value, wrong: &mut Vec<String>| {
        // how control characters are written
        let said = value.as_str().unwrap_or_default().replace("\\u{", "\\u");
        let said = said.as_str();
        wrong.extend(plain(said));
        if said.contains("](")
            || said.contains("][")
            || said.contains("@admin")
            || said.contains("{0")
            || said.contains('\n')
        {
            wrong.push(format!("markup: {said}"));
        }
    };
    for result in log["runs"][0]["results"].as_array().into_iter().flatten() {
        texts(&result["message"]["text"], &mut wrong);
        texts(&result["suppressions"][0]["justification"], &mut wrong);
    }
    wrong
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, max_shrink_iters: 40, ..ProptestConfig::default() })]
    #[test]
    fn text_stays_text_in_every_form(texts in proptest::collection::vec(text(), 12)) {
        let folder = folder_with_cluster();
        prepare(folder.path(), &texts);
        let said = |verb: &str, form: &str| {
            let mut command = hostguard(folder.path());
            command.args(verb.split(' '));
            if verb != "exposure" {
                command.arg("plan.yaml");
            }
            command.arg(form);
            if verb != "check" {
                command.args(["--live", "cluster.json"]);
            }
            let ran = finish(command.output().expect("it starts"));
            prop_assert!([0, 1, 3, 8].contains(&ran.code), "{} {}", ran.code, ran.stderr);
            prop_assert_eq!(plain(&ran.stderr), Vec::<String>::new(), "{}", ran.stderr);
            Ok(ran.stdout)
        };
        for verb in ["plan", "check"] {
            let answer = said(verb, "-osarif")?;
            prop_assert_eq!(sarif(&answer), Vec::<String>::new(), "{}", answer);
            let answer = said(verb, "-ojunit")?;
            prop_assert_eq!(junit(&answer), Vec::<String>::new(), "{}", answer);
            let answer = said(verb, "-ojson")?;
            prop_assert!(serde_json::from_str::<Value>(&answer).is_ok(), "{}", answer);
            let answer = said(verb, "-otext")?;
            prop_assert_eq!(plain(&answer), Vec::<String>::new(), "{}", answer);
        }
        // against a plan that says none of it
        let other = "{apiVersion: hostguard.dev/v1alpha1, kind: HostProtection, metadata: {name: other}, spec: {cluster: \
            {platform: generic}, tiers: {guarding: {order: 500}}}}";
        std::fs::write(folder.path().join("other.yaml"), other).expect("can be written");
        for files in [["other.yaml", "plan.yaml"], ["plan.yaml", "other.yaml"]] {
            let said = |form: &str| {
                let mut command = hostguard(folder.path());
                command.arg("diff").args(files).args(["--live", "cluster.json", form]);
                let ran = finish(command.output().expect("it starts"));
                prop_assert!([0, 1].contains(&ran.code), "{} {}", ran.code, ran.stderr);
                Ok(ran.stdout)
            };
            let answer = said("-omarkdown")?;
            prop_assert_eq!(markdown(&answer), Vec::<String>::new(), "{}", answer);
            let answer = said("-otext")?;
            prop_assert_eq!(plain(&answer), Vec::<String>::new(), "{}", answer);
            let answer = said("-ojson")?;
            prop_assert!(serde_json::from_str::<Value>(&answer).is_ok(), "{}", answer);
        }
        let answer = said("graph", "-omermaid")?;
        prop_assert_eq!(mermaid(&answer), Vec::<String>::new(), "{}", answer);
        let answer = said("graph", "-odot")?;
        prop_assert_eq!(dot(&answer), Vec::<String>::new(), "{}", answer);
        let answer = said("graph", "-osvg")?;
        prop_assert_eq!(html(&answer), Vec::<String>::new(), "{}", answer);
        for verb in ["exposure", "exposure --after"] {
            let answer = said(verb, "-ohtml")?;
            prop_assert_eq!(html(&answer), Vec::<String>::new(), "{}", answer);
        }
        // the last one writes
        for verb in ["plan", "exposure", "apply --yes"] {
            let answer = said(verb, "-omarkdown")?;
            prop_assert_eq!(markdown(&answer), Vec::<String>::new(), "{}", answer);
        }
    }
}

/// The oracles see what they are there for.
#[test]
fn the_oracles_are_not_blind() {
    for forged in [
        "| a | b |\n|---|---|\n| `x` | y | z |\n",
        "hello <b>x</b>\n",
        "hello @admin\n",
        "![x](https://example.com)\n",
        "`a\n",
        "</details>\n",
        "<details><summary>1 steps</summary>\n\n```text\nx\n",
        "a\u{1b}[2J\n",
        "```mermaid\nflowchart TB\n  n0[\"a\"]:::create\n  click n0 x\n```\n",
    ] {
        let forged = format!("<!-- hostguard:p -->\n{forged}");
        assert!(!markdown(&forged).is_empty(), "{forged}");
    }
    for forged in ["hello\n", "<!-- hostguard:a --> <b> -->\n"] {
        assert!(!markdown(forged).is_empty(), "{forged}");
    }
    for label in ["a<b>", "a#b", "`a`", "a\"b", "a;b"] {
        let forged = format!("flowchart TB\n  n0[\"{label}\"]:::create\n");
        assert!(!mermaid(&forged).is_empty(), "{forged}");
    }
    for label in ["a\"", "a\\", "\\N", "\"]; x [label=\""] {
        let forged = format!("digraph \"p\" {{\n  n0 [label=\"{label}\", color=\"#fff\"];\n}}\n");
        assert!(!dot(&forged).is_empty(), "{forged}");
    }
    for forged in [
        "<p>a</b></p>",
        "<p>a",
        "<p onclick=\"x\">a</p>",
        "<p class=x>a</p>",
        "<script>x</script>",
        "<img src=\"x\">",
        "<a href=\"x\">a</a>",
        "<p>a & b</p>",
        "<p>a > b</p>",
        "<style>@import 'x'</style>",
        "<style>a { background: url(x) }</style>",
        "<!doctype html>\n<html></html>",
    ] {
        assert!(!html(forged).is_empty(), "{forged}");
    }
    for forged in [
        "<testsuites tests=\"1\" failures=\"0\"><testsuite><testcase name=\"a\" classname=\"b\"/><testcase name=\"a\" classname=\"b\"/></testsuite></testsuites>",
        "<testsuites tests=\"0\" failures=\"0\"><x/></testsuites>",
        "<testsuites tests=\"0\" failures=\"0\"></testsuite>",
    ] {
        assert!(!junit(forged).is_empty(), "{forged}");
    }
}
