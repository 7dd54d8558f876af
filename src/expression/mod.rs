//! Expressions of the Common Expression Language over a JSON document, in bounded work.
//!
//! A plan may come from a stranger, and the language has loops in loops and lists that double. Its interpreter has no
//! budget, so every loop and everything that can grow is charged here (`meter.rs`), and an expression that costs too
//! much has no answer. The same document and expression cost the same everywhere: no clock is read. Regular
//! expressions and times are left out of the language. Knows nothing of plans.

mod meter;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use cel::{Context, Env, ExecutionError, IdedExpr};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use serde_json::Value;

/// Bytes of one expression.
pub const MOST: usize = 1_000;
/// Brackets and unary signs inside each other.
const DEEPEST: usize = 24;
/// What one expression may cost, and what all about one document may together; a million is well below a second.
const BUDGET: u64 = 500_000;
const BUDGET_OF_ALL: u64 = 5_000_000;
/// Bytes of a stack; only what is used of it takes memory.
const STACK: usize = 64 << 20;
/// Bytes of an interpreter's message.
const MESSAGE: usize = 200;

/// An expression that can be asked.
#[derive(Clone)]
pub struct Expression(IdedExpr);

/// Why a text is no expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Bytes before the place, where it is known.
    pub offset: Option<usize>,
    pub message: String,
}

/// Why an expression has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// It costs more than an expression may, or those before it left nothing.
    TooExpensive,
    /// It is of another type than a boolean.
    NotBoolean(String),
    /// The interpreter's words.
    Failed(String),
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoAnswer::TooExpensive => f.write_str("it takes too many steps"),
            NoAnswer::NotBoolean(ty) => write!(f, "it gives a {ty}, neither true nor false"),
            NoAnswer::Failed(why) => f.write_str(why),
        }
    }
}

impl Expression {
    pub fn parse(text: &str) -> Result<Expression, Mistake> {
        let mistake = |offset, message: String| Mistake { offset, message };
        if text.len() > MOST {
            return Err(mistake(None, format!("longer than {MOST} bytes")));
        }
        if let Some(offset) = too_deep(text) {
            return Err(mistake(Some(offset), "nested too deep".to_string()));
        }
        with_room(|| {
            let program = language().compile(text).map_err(|errors| {
                let first = errors.errors.first();
                let offset = first.and_then(|error| offset_of(text, error.pos));
                let words = first.map_or_else(String::new, |error| error.msg.clone());
                mistake(offset, cut(&words))
            })?;
            let metered = meter::metered(program.expression());
            metered.map(Expression).map_err(|why| mistake(None, why.to_string()))
        })
    }
}

/// Whether each expression holds of a document, which the variable stands for.
pub fn ask(variable: &str, document: &Value, expressions: &[&Expression]) -> Vec<Result<bool, NoAnswer>> {
    with_room(|| {
        let (left, mut of_all) = (Arc::new(AtomicU64::new(0)), BUDGET_OF_ALL);
        let mut context = Context::with_env(Arc::new(language()));
        let value = cel::to_value(Document(document)).expect("JSON is plain data");
        context.add_variable_from_value(variable, value);
        meter::declare(&mut context, &left);
        let holds = |expression: &&Expression| {
            let budget = of_all.min(BUDGET);
            meter::fill(&left, budget);
            let answer = cel::Value::resolve(&expression.0, &context);
            of_all -= budget - meter::left(&left);
            match answer {
                _ if meter::left(&left) == 0 => Err(NoAnswer::TooExpensive),
                Ok(cel::Value::Bool(holds)) => Ok(holds),
                Ok(other) => Err(NoAnswer::NotBoolean(other.type_of().to_string())),
                Err(error) => Err(NoAnswer::Failed(words(&error))),
            }
        };
        expressions.iter().map(holds).collect()
    })
}

/// The parser and the interpreter call themselves for every level of an expression, with large frames.
fn with_room<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let builder = std::thread::Builder::new().stack_size(STACK);
    std::thread::scope(|scope| {
        let thread = builder.spawn_scoped(scope, work).expect("a thread can be started");
        match thread.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// CEL's own functions and macros, without optional values.
fn language() -> Env {
    Env::stdlib().with_optional_support(false)
}

/// What failed, without the values: those can be the whole document.
fn words(error: &ExecutionError) -> String {
    match error {
        ExecutionError::NoSuchKey(key) => cut(&format!("no such field: {key}")),
        ExecutionError::UndeclaredReference(name) => cut(&format!("no such name: {name}")),
        ExecutionError::NoSuchOverload(error) => cut(&error.to_string()),
        ExecutionError::UnexpectedType { got, want } => cut(&format!("a {got} where a {want} is needed")),
        ExecutionError::FunctionError { message, .. } => cut(message),
        ExecutionError::IndexOutOfBounds(_) => "an index is out of bounds".to_string(),
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => "a division by zero".to_string(),
        ExecutionError::Overflow(..) => "a number is too large".to_string(),
        _ => "values of these types do not go together".to_string(),
    }
}

fn cut(text: &str) -> String {
    let mut words = String::new();
    for c in text.chars() {
        if words.len() + c.len_utf8() > MESSAGE {
            words.push_str("...");
            break;
        }
        words.push(c);
    }
    words
}

/// Where brackets and unary signs go deeper than the parser should follow; what stands in quotes counts too.
fn too_deep(text: &str) -> Option<usize> {
    let (mut open, mut signs) = (0_usize, 0_usize);
    for (offset, c) in text.char_indices() {
        match c {
            '(' | '[' | '{' | '?' => open += 1,
            ')' | ']' | '}' => open = open.saturating_sub(1),
            _ => {}
        }
        match c {
            '!' | '-' => signs += 1,
            c if c.is_whitespace() => {}
            _ => signs = 0,
        }
        if open > DEEPEST || signs > DEEPEST {
            return Some(offset);
        }
    }
    None
}

/// The byte that a line and a column from 1 name.
fn offset_of(text: &str, (line, column): (isize, isize)) -> Option<usize> {
    let line = usize::try_from(line).ok()?.checked_sub(1)?;
    let column = usize::try_from(column).ok()?.checked_sub(1)?;
    let mut start = 0;
    for _ in 0..line {
        start += text[start..].find('\n')? + 1;
    }
    let rest = text[start..].char_indices().nth(column);
    Some(start + rest.map_or(text.len() - start, |(at, _)| at))
}

/// JSON as the language sees it: whole numbers are signed, as those in expressions are.
struct Document<'a>(&'a Value);

impl Serialize for Document<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::String(text) => serializer.serialize_str(text),
            Value::Number(number) => match number.as_i64() {
                Some(whole) => serializer.serialize_i64(whole),
                None => serializer.serialize_f64(number.as_f64().unwrap_or(f64::MAX)),
            },
            Value::Array(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    list.serialize_element(&Document(item))?;
                }
                list.end()
            }
            Value::Object(fields) => {
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                for (key, value) in fields {
                    map.serialize_entry(key, &Document(value))?;
                }
                map.end()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document() -> Value {
        json!({
            "steps": [{"key": "Tier/a", "verb": "create"}, {"key": "Tier/b", "verb": "delete"}],
            "exposure": [{"ports": [[22, 22], [80, 90]], "movement": "opens", "service": null}],
            "summary": {"delete": 1},
            "groups": {"b": ["n1"], "a": ["n2"]},
        })
    }

    fn one(variable: &str, document: &Value, expression: &Expression) -> Result<bool, NoAnswer> {
        let mut answers = super::ask(variable, document, &[expression]);
        answers.remove(0)
    }

    fn ask(text: &str) -> Result<bool, String> {
        let expression = Expression::parse(text).map_err(|mistake| mistake.message)?;
        one("answer", &document(), &expression).map_err(|why| why.to_string())
    }

    #[test]
    fn what_people_write_is_answered() {
        for holds in [
            "answer.summary.delete <= 1",
            "answer.summary.delete + 1 == 2",
            "answer.steps.exists(s, s.verb == 'delete')",
            "answer.steps.all(s, s.key.startsWith('Tier/') && s.key.size() < 10)",
            "answer.steps.filter(s, s.verb == 'delete').size() == 1",
            "answer.steps.map(s, s.key) == ['Tier/a', 'Tier/b']",
            "answer.steps.exists_one(s, s.verb == 'create')",
            "answer.exposure.all(r, r.ports.all(p, p[0] <= p[1]))",
            "answer.exposure.all(r, r.service == null)",
            "!has(answer.summary.create)",
            "answer.groups['a'] == ['n2'] && 'b' in answer.groups && 'n1' in answer.groups.b",
            "size(answer.groups) == 2",
            "answer.steps.size() > 5 ? false : true",
            "'x' + 'y' == 'xy' && [1] + [2] == [1, 2]",
        ] {
            assert_eq!(ask(holds), Ok(true), "{holds}");
        }
        assert_eq!(ask("answer.steps.all(s, s.verb == 'create')"), Ok(false));
    }

    #[test]
    fn what_is_no_expression_is_said_with_its_place() {
        let place = |text: &str| Expression::parse(text).map(|_| ()).map_err(|mistake| mistake.offset);
        assert_eq!(place("answer.a ="), Err(Some(9)));
        assert_eq!(place("a\n  && && b"), Err(Some(7)));
        assert_eq!(place(&"(".repeat(100)), Err(Some(DEEPEST)));
        assert_eq!(place(&"x".repeat(MOST + 1)), Err(None));
        assert!(place("").is_err());
        assert!(place("[].?a").is_err(), "no optional values");
    }

    #[test]
    fn what_has_no_answer_says_why() {
        for (text, why) in [
            ("answer.no", "no such field: no"),
            ("nothing", "no such name: nothing"),
            ("answer.summary", "it gives a map, neither true nor false"),
            ("answer.steps[7].key == 'x'", "an index is out of bounds"),
            (
                "answer.groups.all(g, g != '')",
                "a map has no order: only lists can be gone through",
            ),
            ("'a'.matches('a')", "no such name: matches"),
        ] {
            assert_eq!(ask(text), Err(why.to_string()), "{text}");
        }
    }

    /// Loops in loops, lists and texts that double, whole documents in lists: all end soon, without an answer.
    #[test]
    fn nothing_takes_long() {
        let many: Vec<Value> = (0..1_000).map(|i| json!({"i": i, "text": "x".repeat(100)})).collect();
        let asked = json!({"all": many});
        let nested = |depth: usize, innermost: &str| {
            let open: String = (0..depth).map(|i| format!("answer.all.all(v{i}, ")).collect();
            format!("{open}{innermost}{}", ")".repeat(depth))
        };
        let list_doubling = format!("[[1]]{}.size() == 1", ".map(l, l + l)".repeat(40));
        let text_doubling = format!("['x']{}.size() == 1", ".map(t, t + t)".repeat(40));
        let deep = [
            format!("{}1 > 1", "1 + ".repeat(50)),
            format!("answer{} == 1", ".a".repeat(400)),
            format!("answer{} == 1", ".a()".repeat(200)),
            format!("answer{} == 1", "[0]".repeat(300)),
            "a?".repeat(400),
            "!".repeat(900),
            "-".repeat(900),
            "[".repeat(900),
            "'".repeat(900),
            "a.b(".repeat(200),
        ];
        for text in deep {
            if let Ok(expression) = Expression::parse(&text) {
                let answered = one("answer", &asked, &expression);
                assert!(answered.is_err() || text.starts_with('1'), "{text}");
            }
        }
        for text in [
            nested(5, "true"),
            nested(5, "1 / 0 == 1"),
            nested(3, "answer == answer"),
            nested(4, "v0.nothing == 1 || v1.nothing == 2"),
            "answer.all.map(a, answer.all.map(b, answer)).size() == 0".to_string(),
            "answer.all.map(a, [answer, answer, answer]).size() == 0".to_string(),
            "answer.all.map(a, {'x': answer, 'y': answer}).size() == 0".to_string(),
            "answer.all.filter(a, answer.all.filter(b, answer.all.filter(c, true).size() > 0).size() > 0).size() > 0"
                .to_string(),
            "answer.all.exists_one(a, answer.all.exists_one(b, answer.all.exists_one(c, false)))".to_string(),
            list_doubling,
            text_doubling,
        ] {
            let expression = Expression::parse(&text).expect(&text);
            let before = std::time::Instant::now();
            let answered = one("answer", &asked, &expression);
            assert_eq!(answered, Err(NoAnswer::TooExpensive), "{text}");
            assert!(before.elapsed().as_secs() < 20, "{text}: {:?}", before.elapsed());
        }
    }

    #[test]
    fn many_expressions_have_a_budget_too() {
        let list: Vec<u64> = (0..400).collect();
        let square = Expression::parse("answer.all(a, answer.all(b, a < 1000000 || b < 0))").expect("an expression");
        let answers = super::ask("answer", &json!(list), &[&square; 40]);
        let answers: Vec<bool> = answers.iter().map(Result::is_ok).collect();
        assert!(answers[0] && answers[9] && !answers[39], "{answers:?}");
    }

    mod any_text {
        use proptest::prelude::*;

        use super::*;

        proptest! {
            #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]
            #[test]
            fn is_an_expression_or_a_mistake(text in "[a-c0-9.()\\[\\]{}?:!&|<>=+*/%,'\"\\\\ \n\t-]{0,80}|\\PC{0,40}") {
                if let Ok(expression) = Expression::parse(&text) {
                    let _ = one("a", &document(), &expression);
                }
            }

            #[test]
            fn of_the_languages_words_is_one_too(words in proptest::collection::vec(proptest::sample::select(vec![
                "answer", ".", "steps", "(", ")", "[", "]", "all", "exists", "map", "filter", "has", "x", ",", "?", ":",
                "!", "-", "&&", "||", "==", "in", "1", "'t'", "+", "{", "}", "null", "dyn", "type", "\n", "r'", "b'",
            ]), 0..40)) {
                if let Ok(expression) = Expression::parse(&words.concat()) {
                    let _ = one("answer", &document(), &expression);
                }
            }
        }
    }
}
