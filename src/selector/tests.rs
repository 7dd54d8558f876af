use super::*;
use proptest::prelude::*;

fn canonical(text: &str) -> String {
    Selector::parse(text)
        .unwrap_or_else(|e| panic!("{text}: {e}"))
        .canonical()
}

fn error(text: &str) -> (String, String) {
    let error = Selector::parse(text).expect_err(text);
    (
        text[error.span.start..error.span.end].to_string(),
        error.fix.unwrap_or_default(),
    )
}

#[test]
fn canonical_text_is_calicos() {
    assert_eq!(canonical(""), "all()");
    assert_eq!(canonical("((a=='b'))"), r#"a == "b""#);
    assert_eq!(canonical("a in {'z','b','z',}"), r#"a in {"b", "z"}"#);
    assert_eq!(canonical("! ! !a == 'b'"), r#"!a == "b""#);
    assert_eq!(canonical("!(!has(a))"), "!!has(a)");
    assert_eq!(
        canonical("a == 'x\"y' || b == '' && has(c)"),
        r#"(a == 'x"y' || (b == "" && has(c)))"#
    );
    assert_eq!(
        canonical("in in {} && not notin {'a'}"),
        r#"(in in {} && not not in {"a"})"#
    );
}

#[test]
fn an_absent_label_satisfies_only_the_negative_operators() {
    let none = BTreeMap::new();
    let holds = |text: &str| Selector::parse(text).expect(text).matches(&none);
    assert!(holds("a != 'b'") && holds("a not in {'b'}") && holds("!has(a)"));
    assert!(!holds("a == ''") && !holds("a in {''}") && !holds("a contains ''") && !holds("a starts with ''"));
}

#[test]
fn a_mistake_is_marked_and_comes_with_its_fix() {
    assert_eq!(error("a = 'b'"), ("=".into(), "write `==`".into()));
    assert_eq!(
        error("has (x)"),
        ("has (".into(), "write `has(` without the blank".into())
    );
    assert_eq!(
        error("has(a)\n&& has(b)"),
        ("\n".into(), "write a space instead of the line break".into())
    );
    assert_eq!(error("a == b"), ("b".into(), "write `\"b\"`".into()));
    assert_eq!(error("has(a) and has(b)"), ("and".into(), "write `&&`".into()));
    assert_eq!(error("has(a) & has(b)").1, "write `&&`");
    assert_eq!(error("a == 'b"), ("'b".into(), "close the value with '".into()));
    assert_eq!(error("((has(a))").0, "(");
    assert_eq!(error("has(a))"), (")".into(), "remove it".into()));
    assert_eq!(error("host == “test”").0, "“");
    assert_eq!(error("${SELECTOR}").1, "replace the placeholder with its value");
    assert_eq!(error("a").1, "write `has(a)` or `a == \"value\"`");
}

#[test]
fn nesting_has_no_limit_that_a_stack_would_set() {
    let depth = 200_000;
    let deep = format!("{}has(a){}", "!(".repeat(depth), ")".repeat(depth));
    let selector = Selector::parse(&deep).expect("balanced");
    assert!(!selector.matches(&BTreeMap::new()));
    assert_eq!(selector.canonical(), format!("{}has(a)", "!".repeat(depth)));
    assert!(Selector::parse(&"(".repeat(depth)).is_err());
}

#[test]
fn unparseable_text_is_normalised_by_trimming_only() {
    assert_eq!(normalise("\u{2003}has( a )\n"), "has(a)");
    assert_eq!(normalise(" (h "), "(h");
    assert_eq!(normalise(" \n "), "all()");
}

fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "a", "b.c/d-e", "has(", "all(", "global(", ")", "(", "{", "}", ",", "==", "=", "!=", "!", "&&", "&", "||", "|",
        "'", "\"", "'x'", "\"y\"", "'é'", "in", "not", " ", "\t", "\n", "contains", "starts", "with", "ends", "é", "“",
        "\u{0}", "🦀", "$", "has(a)", "a == 'b'",
    ]);
    prop::collection::vec(piece, 0..14).prop_map(|v| v.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]
    #[test]
    fn any_text_is_parsed_or_refused_at_a_place_inside_it(text in pieces()) {
        match Selector::parse(&text) {
            Ok(selector) => {
                let again = Selector::parse(&selector.canonical()).expect("canonical text parses");
                // `!(!x)` prints as `!!x`, which reads as `x`: only the meaning survives.
                for labels in [BTreeMap::new(), BTreeMap::from([("a".to_string(), "b".to_string())])] {
                    prop_assert_eq!(again.matches(&labels), selector.matches(&labels));
                }
                prop_assert_eq!(normalise(&text), selector.canonical());
            }
            Err(error) => {
                prop_assert!(error.span.start <= error.span.end && error.span.end <= text.len());
                prop_assert!(text.is_char_boundary(error.span.start) && text.is_char_boundary(error.span.end));
                prop_assert!(!error.message.is_empty() && !error.message.ends_with('.'));
            }
        }
    }

    #[test]
    fn any_bytes_are_parsed_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        if let Ok(selector) = Selector::parse_bytes(&bytes) {
            let _ = (selector.canonical(), selector.uid(), selector.matches(&BTreeMap::new()));
        }
    }
}
