//! A world with what was worked out of it, for comparing it more than once; and what a world takes over from one before.
//!
//! A step of an order touches little. What packets find between a client and a target is taken over where nothing that
//! they meet differs, told by [`Sameness`]; ports whose packets are sent on to something that differs are looked at anew.

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::rc::Rc;

use super::cells::{Cell, Client, Notes, Ports, Prober, together};
use super::same::Sameness;
use super::targets::Target;
use super::world::World;
use crate::net::PortSet;

pub struct Known {
    pub(super) world: World,
    notes: Rc<Notes>,
}

impl Known {
    pub fn new(world: World) -> Known {
        Known {
            notes: Rc::new(Notes::new(&world, true)),
            world,
        }
    }

    /// The same for a world that came of one before: that one, if they are the same in everything that decides.
    pub fn next(before: &Rc<Known>, world: World) -> Rc<Known> {
        let same = Sameness::new(&before.world, &world);
        if same.sent_on() {
            return before.clone();
        }
        let notes = Rc::new(Notes::new(&world, true));
        take_over(before, &same, &Prober::with(&world, notes.clone()), &notes);
        Rc::new(Known { world, notes })
    }

    /// Each node by the classes of its addresses, of itself as a client and of its pods: those with the same cannot be told
    /// apart by any packet. Left out are nodes that have one of these addresses, or a pod that has.
    pub fn sorts_of_nodes(&self, but: &BTreeSet<IpAddr>) -> BTreeMap<String, Vec<usize>> {
        let prober = self.prober();
        let mut sorts: Vec<[Vec<usize>; 2]> = vec![Default::default(); self.world.nodes.len()];
        let mut left_out = vec![false; self.world.nodes.len()];
        for (number, class) in prober.target_classes().iter().enumerate() {
            for target in class {
                sorts[target.node][0].push(number);
                left_out[target.node] |= but.contains(&target.address);
            }
        }
        for (number, class) in prober.client_classes().iter().enumerate() {
            for client in class {
                let Some(home) = client.home(&self.world) else { continue };
                sorts[home][1].push(number);
                if let Client::Pod(pod) = client {
                    left_out[home] |= self.world.pods[*pod].addresses.iter().any(|own| but.contains(own));
                }
            }
        }
        let nodes = self.world.nodes.iter().zip(sorts).zip(left_out);
        let named = nodes
            .filter(|(_, left_out)| !left_out)
            .map(|((node, [mut targets, mut clients]), _)| {
                targets.sort_unstable();
                clients.sort_unstable();
                targets.push(usize::MAX); // no class has this number
                targets.append(&mut clients);
                (node.name.clone(), targets)
            });
        named.collect()
    }

    pub fn world(&self) -> &World {
        &self.world
    }

    pub(super) fn prober(&self) -> Prober<'_> {
        Prober::with(&self.world, self.notes.clone())
    }
}

/// Who meets what: classes of client (none outside) and target, and whether they are on one node. What packets find
/// depends on nothing else of the two.
type Met = (Option<usize>, usize, bool);

/// What a pair finds, by two that stand for it.
#[derive(Clone)]
struct Found {
    client: Client,
    target: Target,
    cells: Rc<Vec<Cell>>,
    /// Taken over, and still to be looked at on the ports that may differ.
    stale: bool,
}

#[derive(Default)]
pub(super) struct Kept {
    found: RefCell<BTreeMap<Met, Found>>,
    /// All cells that were found, each once: most pairs find the same.
    pool: RefCell<BTreeSet<Rc<Vec<Cell>>>>,
    /// On which ports what was taken over may differ.
    changed: RefCell<Ports>,
    clients: OnceCell<BTreeMap<Client, usize>>,
    targets: OnceCell<BTreeMap<Target, usize>>,
}

impl Kept {
    pub fn met(&self, prober: &Prober<'_>, client: Client, target: Target) -> Met {
        let targets = self.targets.get_or_init(|| numbers(prober.target_classes()));
        let sender = (client != Client::Outside).then(|| {
            let clients = self.clients.get_or_init(|| numbers(prober.client_classes()));
            clients[&client]
        });
        (sender, targets[&target], prober.home(client) == Some(target.node))
    }

    pub fn cells(
        &self,
        met: Met,
        pair: impl FnOnce() -> (Client, Target),
        work_out: impl FnOnce(Option<&Ports>) -> Vec<Cell>,
    ) -> Rc<Vec<Cell>> {
        let known = self.found.borrow().get(&met).cloned();
        let cells = match known {
            Some(found) if !found.stale => return found.cells,
            Some(found) => {
                let changed = self.changed.borrow();
                replaced(&found.cells, &changed, work_out(Some(&changed)))
            }
            None => work_out(None),
        };
        let cells = self.once(cells);
        let (client, target) = pair();
        let found = Found {
            client,
            target,
            cells: cells.clone(),
            stale: false,
        };
        self.found.borrow_mut().insert(met, found);
        cells
    }

    fn once(&self, cells: Vec<Cell>) -> Rc<Vec<Cell>> {
        let mut pool = self.pool.borrow_mut();
        if let Some(known) = pool.get(&cells) {
            return known.clone();
        }
        let cells = Rc::new(cells);
        pool.insert(cells.clone());
        cells
    }
}

fn numbers<T: Copy + Ord>(classes: &[Vec<T>]) -> BTreeMap<T, usize> {
    let numbered = classes.iter().enumerate();
    numbered
        .flat_map(|(i, class)| class.iter().map(move |one| (*one, i)))
        .collect()
}

/// The cells with those of some ports put in place of what was there on these.
fn replaced(cells: &[Cell], ports: &Ports, anew: Vec<Cell>) -> Vec<Cell> {
    let kept = cells.iter().filter_map(|cell| {
        let Some(ports) = ports.get(&cell.protocol) else {
            return Some(cell.clone());
        };
        let left: PortSet = cell.ports.minus(ports);
        (!left.is_empty()).then(|| Cell {
            ports: left,
            ..cell.clone()
        })
    });
    together(kept.chain(anew).collect())
}

/// Takes over what is the same on the whole way. Places in lists are the same in both worlds where the settings are.
fn take_over(before: &Known, same: &Sameness<'_>, prober: &Prober<'_>, notes: &Notes) {
    let (Some(old), Some(kept)) = (&before.notes.kept, &notes.kept) else {
        return;
    };
    let alike =
        same.settings() && before.notes.outside == notes.outside && before.notes.source_ports == notes.source_ports;
    if !alike {
        return;
    }
    let changed = same.translated_ports();
    let mut taken = kept.found.borrow_mut();
    for found in old.found.borrow().values().filter(|found| !found.stale) {
        let leaves = found.client == Client::Outside || same.on_leaving(found.client, found.client);
        if leaves && same.on_arrival(found.target, found.target) {
            let met = kept.met(prober, found.client, found.target);
            let stale = !changed.is_empty();
            taken.entry(met).or_insert_with(|| Found { stale, ..found.clone() });
        }
    }
    *kept.changed.borrow_mut() = changed;
}
