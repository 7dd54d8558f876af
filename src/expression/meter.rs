//! What an expression costs: its tree is rewritten so that every turn of a loop and every value that is built or
//! compared is charged, and nothing goes on once the budget is spent.
//!
//! The interpreter remembers errors of a turn and goes on, because a later turn may decide; that is why the condition of
//! a loop asks again. The functions begin with `@`, which no expression can write.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, ListExpr, LiteralValue, operators};
use cel::common::types::{CelBool, CelString, Kind};
use cel::common::value::{CowVal, Val};
use cel::{Context, ExecutionError, FunctionContext, IdedExpr};

/// Nothing is left: an error, else true.
const GO: &str = "@go";
/// One turn with this element: charged with its weight; true.
const TURN: &str = "@turn";
/// The value itself, charged with its weight.
const WEIGHED: &str = "@weighed";
/// The value itself, if it is a list.
const LIST: &str = "@list";

/// Levels of a tree.
const DEEPEST: usize = 64;

/// Why a tree is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    TooDeep,
    /// A loop of another form than the macros make, or a message.
    Form,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refused::TooDeep => "nested too deep",
            Refused::Form => "it uses a form that is not supported",
        })
    }
}

/// The same expression, charged.
pub fn metered(expression: &IdedExpr) -> Result<IdedExpr, Refused> {
    if is_deeper(expression, DEEPEST) {
        return Err(Refused::TooDeep);
    }
    charged(expression).ok_or(Refused::Form)
}

fn is_deeper(expression: &IdedExpr, most: usize) -> bool {
    let Some(most) = most.checked_sub(1) else {
        return true;
    };
    let deeper = |inner: &IdedExpr| is_deeper(inner, most);
    match &expression.expr {
        Expr::Comprehension(of) => [&of.iter_range, &of.accu_init, &of.loop_cond, &of.loop_step, &of.result]
            .into_iter()
            .any(deeper),
        Expr::Call(call) => call.target.as_deref().is_some_and(deeper) || call.args.iter().any(deeper),
        Expr::List(list) => list.elements.iter().any(deeper),
        Expr::Map(map) => map.entries.iter().any(|entry| match &entry.expr {
            EntryExpr::MapEntry(entry) => deeper(&entry.key) || deeper(&entry.value),
            EntryExpr::StructField(field) => deeper(&field.value),
        }),
        Expr::Select(select) => deeper(&select.operand),
        Expr::Struct(_) | Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => false,
    }
}

fn charged(expression: &IdedExpr) -> Option<IdedExpr> {
    let expr = match &expression.expr {
        Expr::Comprehension(comprehension) => Expr::Comprehension(Box::new(loops(comprehension)?)),
        Expr::Call(call) => Expr::Call(self::call(call)?),
        Expr::List(list) => Expr::List(ListExpr {
            elements: list
                .elements
                .iter()
                .map(|element| weighed(charged(element)?))
                .collect::<Option<_>>()?,
            optional_indices: list.optional_indices.clone(),
        }),
        Expr::Map(map) => {
            let mut map = map.clone();
            for entry in &mut map.entries {
                let EntryExpr::MapEntry(entry) = &mut entry.expr else {
                    return None;
                };
                entry.key = weighed(charged(&entry.key)?)?;
                entry.value = weighed(charged(&entry.value)?)?;
            }
            Expr::Map(map)
        }
        Expr::Select(select) => {
            let mut select = select.clone();
            select.operand = Box::new(charged(&select.operand)?);
            Expr::Select(select)
        }
        // there are no types to make one of
        Expr::Struct(_) | Expr::Unspecified => return None,
        plain @ (Expr::Ident(_) | Expr::Literal(_)) => plain.clone(),
    };
    Some(IdedExpr {
        id: expression.id,
        expr,
    })
}

/// Logic and choice only pass on what was charged before; an index and a size look at nothing.
fn call(call: &CallExpr) -> Option<CallExpr> {
    let passes = matches!(
        call.func_name.as_str(),
        operators::LOGICAL_AND
            | operators::LOGICAL_OR
            | operators::LOGICAL_NOT
            | operators::CONDITIONAL
            | operators::NOT_STRICTLY_FALSE
            | operators::INDEX
            | "size"
    );
    let argument = |expression: &IdedExpr| {
        let inner = charged(expression)?;
        if passes { Some(inner) } else { weighed(inner) }
    };
    Some(CallExpr {
        func_name: call.func_name.clone(),
        target: match &call.target {
            Some(target) => Some(Box::new(argument(target)?)),
            None => None,
        },
        args: call.args.iter().map(argument).collect::<Option<_>>()?,
    })
}

/// The forms that `all`, `exists`, `exists_one`, `map` and `filter` have.
fn loops(of: &ComprehensionExpr) -> Option<ComprehensionExpr> {
    let accumulated = |expression: &IdedExpr| matches!(&expression.expr, Expr::Ident(name) if *name == of.accu_var);
    let mut metered_loop = of.clone();
    metered_loop.iter_range = called(LIST, vec![charged(&of.iter_range)?]);
    metered_loop.result = charged(&of.result)?;
    // A plain condition stays one: the interpreter then appends to a list instead of copying it.
    if !matches!(of.loop_cond.expr, Expr::Literal(_)) {
        metered_loop.loop_cond = after(called(GO, Vec::new()), of.loop_cond.clone());
    }
    let turn = || called(TURN, vec![ident(&of.iter_var)]);
    let Expr::Call(step) = &of.loop_step.expr else {
        return None;
    };
    let mut step = step.clone();
    match (step.func_name.as_str(), step.args.as_slice()) {
        // all, exists
        (operators::LOGICAL_AND | operators::LOGICAL_OR, [accu, predicate]) if accumulated(accu) => {
            step.args[1] = after(turn(), charged(predicate)?);
        }
        // map
        (operators::ADD, [accu, _]) if accumulated(accu) => {
            step.args[1] = appended(&step.args[1], Some(turn()))?;
        }
        // filter, exists_one, map with a condition
        (operators::CONDITIONAL, [predicate, _, otherwise]) if accumulated(otherwise) => {
            step.args[0] = after(turn(), charged(predicate)?);
            let Expr::Call(add) = &step.args[1].expr else {
                return None;
            };
            let mut add = add.clone();
            match (add.func_name.as_str(), add.args.as_slice()) {
                (operators::ADD, [accu, one]) if accumulated(accu) => {
                    if !matches!(one.expr, Expr::Literal(_)) {
                        add.args[1] = appended(one, None)?;
                    }
                }
                _ => return None,
            }
            step.args[1].expr = Expr::Call(add);
        }
        _ => return None,
    }
    metered_loop.loop_step.expr = Expr::Call(step);
    Some(metered_loop)
}

/// The list of one element that a turn appends.
fn appended(list: &IdedExpr, turn: Option<IdedExpr>) -> Option<IdedExpr> {
    let Expr::List(ListExpr { elements, .. }) = &list.expr else {
        return None;
    };
    let [element] = elements.as_slice() else {
        return None;
    };
    let element = weighed(charged(element)?)?;
    let element = match turn {
        Some(turn) => after(turn, element),
        None => element,
    };
    Some(IdedExpr {
        id: list.id,
        expr: Expr::List(ListExpr::new(vec![element])),
    })
}

fn weighed(expression: IdedExpr) -> Option<IdedExpr> {
    Some(match expression.expr {
        Expr::Literal(_) => expression,
        _ => called(WEIGHED, vec![expression]),
    })
}

/// The second, once the first said true; it says nothing else.
fn after(first: IdedExpr, second: IdedExpr) -> IdedExpr {
    let never = Expr::Literal(LiteralValue::Boolean(CelBool::from(false)));
    called(
        operators::CONDITIONAL,
        vec![first, second, IdedExpr { id: 0, expr: never }],
    )
}

fn called(name: &str, args: Vec<IdedExpr>) -> IdedExpr {
    IdedExpr {
        id: 0,
        expr: Expr::Call(CallExpr {
            func_name: name.to_string(),
            target: None,
            args,
        }),
    }
}

fn ident(name: &str) -> IdedExpr {
    IdedExpr {
        id: 0,
        expr: Expr::Ident(name.to_string()),
    }
}

pub fn left(left: &AtomicU64) -> u64 {
    left.load(Ordering::Relaxed)
}

pub fn fill(left: &AtomicU64, budget: u64) {
    left.store(budget, Ordering::Relaxed);
}

/// Takes the cost off what is left; zero is spent.
fn charge(left: &AtomicU64, cost: u64) -> Result<(), ExecutionError> {
    let now = left.load(Ordering::Relaxed).saturating_sub(cost);
    left.store(now, Ordering::Relaxed);
    if now == 0 {
        return Err(ExecutionError::function_error(GO, "it takes too many steps"));
    }
    Ok(())
}

/// Values in it, and 16 bytes of text for one; no further than `most`.
fn weight(value: &dyn Val, most: u64) -> u64 {
    let mut sum = 1;
    if let Some(text) = value.downcast_ref::<CelString>() {
        return sum + text.inner().len() as u64 / 16;
    }
    let Some(iterable) = value.as_iterable() else {
        return sum;
    };
    let mut items = iterable.iter();
    while let Some(item) = items.next() {
        sum += weight(item, most.saturating_sub(sum));
        if let (Kind::Map, Some(indexer)) = (value.get_type().kind(), value.as_indexer())
            && let Ok(field) = indexer.get(item)
        {
            sum += weight(field.as_ref(), most.saturating_sub(sum));
        }
        if sum >= most {
            break;
        }
    }
    sum
}

type Function =
    Box<dyn for<'c, 'v> Fn(&mut FunctionContext<'c, 'v>) -> Result<CowVal<'c, 'v>, ExecutionError> + Send + Sync>;

/// The functions that charge.
pub fn declare(context: &mut Context<'static, 'static>, left: &Arc<AtomicU64>) {
    let mut add = |name: &str, function: Function| {
        let declared = context.add_function(name, function);
        declared.expect("no other function has the name");
    };
    let budget = left.clone();
    add(
        GO,
        Box::new(move |_| {
            charge(&budget, 1)?;
            Ok(CowVal::owned(CelBool::from(true)))
        }),
    );
    let budget = left.clone();
    add(
        TURN,
        Box::new(move |call| {
            let element = call.args.first().ok_or(ExecutionError::MissingArgumentOrTarget)?;
            charge(&budget, weight(element.as_ref(), budget.load(Ordering::Relaxed)))?;
            Ok(CowVal::owned(CelBool::from(true)))
        }),
    );
    let budget = left.clone();
    add(
        WEIGHED,
        Box::new(move |call| {
            let value = call.args.pop().ok_or(ExecutionError::MissingArgumentOrTarget)?;
            charge(&budget, weight(value.as_ref(), budget.load(Ordering::Relaxed)))?;
            Ok(value)
        }),
    );
    add(
        LIST,
        Box::new(move |call| {
            let value = call.args.pop().ok_or(ExecutionError::MissingArgumentOrTarget)?;
            match value.get_type().kind() {
                Kind::List => Ok(value),
                Kind::Map => Err(call.error("a map has no order: only lists can be gone through")),
                _ => Err(call.error("only lists can be gone through")),
            }
        }),
    );
}
