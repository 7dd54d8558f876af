//! Resources and the needs between them, acyclic by construction, every edge with its reason.
//!
//! The only file that names petgraph: it stores the graph and finds its cycles. The order is ours, because
//! petgraph's depends on insertion. Knows nothing of what is there.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use petgraph::algo::tarjan_scc;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;

use crate::changes::Need;
use crate::resource::{Key, Resource, Target, Want};

/// `dependent` may only be written once `on` is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    pub dependent: Key,
    pub on: Key,
    pub reason: String,
}

/// A walk that closes: each key needs the next for the reason beside it, the last needs the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cycle {
    pub walk: Vec<(Key, String)>,
}

impl std::fmt::Display for Cycle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (key, reason) in &self.walk {
            write!(f, "{key} -> ({reason}) -> ")?;
        }
        write!(f, "{}", self.walk[0].0)
    }
}

#[derive(Clone, Debug)]
pub struct Graph {
    /// Added by key, so that a key is found by halving.
    graph: DiGraph<Resource, String>,
    order: Vec<NodeIndex>,
}

impl Graph {
    /// The graph of these resources, each with a key of its own, or the walk that closes a cycle. An edge to a key that
    /// is no resource is dropped: what the plan does not change needs no order.
    pub fn build(mut resources: Vec<Resource>, edges: Vec<Edge>) -> Result<Graph, Cycle> {
        resources.sort_by(|a, b| a.key.cmp(&b.key));
        let edges: BTreeSet<Edge> = edges.into_iter().collect();
        let mut graph = DiGraph::with_capacity(resources.len(), edges.len());
        for resource in resources {
            graph.add_node(resource);
        }
        for edge in edges {
            if let (Some(on), Some(dependent)) = (find(&graph, &edge.on), find(&graph, &edge.dependent)) {
                graph.add_edge(on, dependent, edge.reason);
            }
        }
        match order(&graph) {
            Some(order) => Ok(Graph { graph, order }),
            None => Err(shortest_cycle(&graph)),
        }
    }

    /// Every resource, needs first; ties as [`tie`] says, whatever the order of insertion was.
    pub fn in_order(&self) -> impl Iterator<Item = &Resource> {
        self.order.iter().map(|&at| &self.graph[at])
    }

    pub fn get(&self, key: &Key) -> Option<&Resource> {
        find(&self.graph, key).map(|at| &self.graph[at])
    }

    /// The same without those of these keys.
    pub fn without<'k>(&self, keys: impl Iterator<Item = &'k Key>) -> impl Iterator<Item = &Resource> {
        let mut left = vec![true; self.graph.node_count()];
        for at in keys.filter_map(|key| find(&self.graph, key)) {
            left[at.index()] = false;
        }
        let order = self.order.iter().filter(move |at| left[at.index()]);
        order.map(|&at| &self.graph[at])
    }

    /// The same with their places.
    pub fn placed(&self) -> impl Iterator<Item = Placed<'_>> {
        self.order.iter().map(|&at| Placed { graph: &self.graph, at })
    }

    /// What `key` needs, by key.
    pub fn needs(&self, key: &Key) -> Vec<Need> {
        let at = find(&self.graph, key);
        at.map_or_else(Vec::new, |at| Placed { graph: &self.graph, at }.needs())
    }
}

/// A resource in its place.
#[derive(Clone, Copy)]
pub struct Placed<'a> {
    graph: &'a DiGraph<Resource, String>,
    at: NodeIndex,
}

impl<'a> Placed<'a> {
    pub fn resource(self) -> &'a Resource {
        &self.graph[self.at]
    }

    /// What it needs, by key.
    pub fn needs(self) -> Vec<Need> {
        let edges = self.graph.edges_directed(self.at, petgraph::Direction::Incoming);
        let need = |edge: petgraph::graph::EdgeReference<'_, String>| Need {
            key: self.graph[edge.source()].key.clone(),
            reason: edge.weight().clone(),
        };
        let mut needs: Vec<Need> = edges.map(need).collect();
        needs.sort();
        needs
    }
}

fn find(graph: &DiGraph<Resource, String>, key: &Key) -> Option<NodeIndex> {
    let found = graph.raw_nodes().binary_search_by(|node| node.weight.key.cmp(key));
    found.ok().map(NodeIndex::new)
}

/// What breaks ties: what is added goes by key, then what is taken back goes by key in reverse, so that a destroy
/// walks its apply backwards.
fn tie(resource: &Resource) -> (bool, Option<&Key>, Option<Reverse<&Key>>) {
    let backwards = match &resource.want {
        Want::Absent => true,
        Want::Object(fields) | Want::Fields(fields) => {
            !fields.is_empty() && fields.values().all(|target| matches!(target, Target::Before { .. }))
        }
    };
    let key = &resource.key;
    if backwards {
        (true, None, Some(Reverse(key)))
    } else {
        (false, Some(key), None)
    }
}

/// Kahn's algorithm with an ordered ready set.
fn order(graph: &DiGraph<Resource, String>) -> Option<Vec<NodeIndex>> {
    let mut open: Vec<usize> = graph
        .node_indices()
        .map(|at| graph.edges_directed(at, petgraph::Direction::Incoming).count())
        .collect();
    let mut ready: BTreeSet<_> = graph
        .node_indices()
        .filter(|at| open[at.index()] == 0)
        .map(|at| (tie(&graph[at]), at))
        .collect();
    let mut order = Vec::with_capacity(graph.node_count());
    while let Some((_, at)) = ready.pop_first() {
        order.push(at);
        for next in graph.neighbors(at) {
            open[next.index()] -= 1;
            if open[next.index()] == 0 {
                ready.insert((tie(&graph[next]), next));
            }
        }
    }
    (order.len() == graph.node_count()).then_some(order)
}

/// The shortest cycle through the smallest key that is on one.
fn shortest_cycle(graph: &DiGraph<Resource, String>) -> Cycle {
    let on_cycle = |scc: &Vec<NodeIndex>| scc.len() > 1 || graph.contains_edge(scc[0], scc[0]);
    let start = tarjan_scc(graph)
        .into_iter()
        .filter(on_cycle)
        .flatten()
        .min_by_key(|&at| &graph[at].key)
        .expect("called only when an order does not exist");
    // follow needs: from a resource to what it needs, that is against the edges
    let mut came: BTreeMap<NodeIndex, (NodeIndex, String)> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(at) = queue.pop_front() {
        let mut needs: Vec<_> = graph.edges_directed(at, petgraph::Direction::Incoming).collect();
        needs.sort_by_key(|edge| &graph[edge.source()].key);
        for edge in needs {
            let to = edge.source();
            if to == start {
                return close(graph, start, at, edge.weight(), &came);
            }
            if let std::collections::btree_map::Entry::Vacant(slot) = came.entry(to) {
                slot.insert((at, edge.weight().clone()));
                queue.push_back(to);
            }
        }
    }
    unreachable!("a node of a strongly connected component reaches itself")
}

fn close(
    graph: &DiGraph<Resource, String>,
    start: NodeIndex,
    last: NodeIndex,
    reason: &str,
    came: &BTreeMap<NodeIndex, (NodeIndex, String)>,
) -> Cycle {
    let mut walk = vec![(graph[last].key.clone(), reason.to_string())];
    let mut at = last;
    while at != start {
        let (from, reason) = &came[&at];
        walk.push((graph[*from].key.clone(), reason.clone()));
        at = *from;
    }
    walk.reverse();
    Cycle { walk }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::{Kind, Origin};

    fn tier(name: &str) -> Key {
        Key::cluster(Kind::Tier, name)
    }

    fn resource(name: &str, want: Want) -> Resource {
        Resource {
            key: tier(name),
            want,
            origin: Origin {
                section: name.into(),
                span: None,
            },
        }
    }

    fn present(name: &str) -> Resource {
        resource(name, Want::Object(BTreeMap::new()))
    }

    fn edge(dependent: &str, on: &str) -> Edge {
        Edge {
            dependent: tier(dependent),
            on: tier(on),
            reason: format!("{dependent} uses {on}"),
        }
    }

    fn names(graph: &Graph) -> Vec<String> {
        graph.in_order().map(|r| r.key.name.clone()).collect()
    }

    #[test]
    fn the_order_does_not_depend_on_insertion() {
        let edges = vec![edge("a", "z"), edge("b", "a")];
        let forward = Graph::build(["a", "b", "c", "z"].map(present).into(), edges.clone()).unwrap();
        let backward = Graph::build(
            ["z", "c", "b", "a"].map(present).into(),
            edges.into_iter().rev().collect(),
        )
        .unwrap();
        assert_eq!(names(&forward), ["c", "z", "a", "b"]);
        assert_eq!(names(&forward), names(&backward));
    }

    #[test]
    fn what_is_taken_back_goes_in_reverse() {
        let graph = Graph::build(
            vec![resource("a", Want::Absent), present("b"), resource("c", Want::Absent)],
            Vec::new(),
        );
        assert_eq!(names(&graph.unwrap()), ["b", "c", "a"]);
    }

    #[test]
    fn a_cycle_is_the_shortest_walk_that_closes_it() {
        let edges = vec![
            edge("a", "b"),
            edge("b", "c"),
            edge("c", "a"),
            edge("b", "a"),
            edge("c", "d"),
        ];
        let cycle = Graph::build(["d", "c", "b", "a"].map(present).into(), edges).unwrap_err();
        assert_eq!(
            cycle.to_string(),
            "Tier/a -> (a uses b) -> Tier/b -> (b uses a) -> Tier/a"
        );
    }

    #[test]
    fn a_self_need_is_a_cycle() {
        let cycle = Graph::build(vec![present("a")], vec![edge("a", "a")]).unwrap_err();
        assert_eq!(cycle.to_string(), "Tier/a -> (a uses a) -> Tier/a");
    }

    #[test]
    fn needs_carry_their_reasons() {
        let graph = Graph::build(["a", "b"].map(present).into(), vec![edge("a", "b"), edge("a", "gone")]).unwrap();
        assert_eq!(
            graph.needs(&tier("a")),
            [Need {
                key: tier("b"),
                reason: "a uses b".into()
            }]
        );
    }
}
