//! Answers who can reach what, and why. Knows nothing of providers, YAML or time.
//!
//! A [`World`] is built from a `State` or from [`Facts`]; [`walk`] follows one packet through it, hop by hop, as Felix
//! would judge it; [`exposure`] does so for every source and port at once, and [`difference`] compares two worlds.
//! "Not read" stays unknown: it is never taken for "not there".

mod answer;
mod build;
mod cells;
mod chain;
mod cloud;
mod compare;
mod cover;
mod coverage;
mod difference;
mod effect;
mod established;
mod facts;
mod felix;
mod flow;
mod forward;
mod from_state;
mod host_endpoint;
mod index;
mod inside;
mod known;
mod kubernetes;
mod lost;
mod members;
mod memory;
mod moves;
mod order;
mod outgoing;
mod output;
mod path;
mod reading;
mod receiver;
mod rules;
mod same;
mod service;
mod sorts;
mod stage;
mod targets;
mod verdict;
mod wire;
mod world;

#[cfg(test)]
mod tests;

pub use answer::{fate, walk};
pub use cells::{Decision, Ports};
pub use cloud::{CloudFacts, CloudRule};
pub use coverage::Clients;
pub use difference::{Answer, Exposure, From, Movement, Nodes, Reach, Row, Subject, difference, exposure};
pub use effect::{Blocker, Idle, Idleness, idle};
pub use established::{Fate, Peer, fate_of_connection, neighbour_discovery};
pub use facts::{Backend, Dataplane, Facts, InterfaceFacts, NamedPort, NodeFacts, PodFacts, ServiceFacts};
pub use flow::{Flow, Flows, Part, Senders};
pub use inside::{difference_inside, exposure_inside};
pub use known::Known;
pub use lost::{failsafes_lost, neighbour_discovery_lost};
pub use moves::{Move, MoveWay, Openness, moves, moves_on};
pub use outgoing::{CutOff, Outgoing, ToPod, cut_off, cut_off_between_nodes, pods_cut_off};
pub use reading::{Reading, felix_keeps};
pub use receiver::Receiver;
pub use rules::port_range;
pub use verdict::{
    By, Direction, Hook, Hop, Origin, Packet, PolicyKind, PolicyName, RuleRef, Ruling, Verdict, Walk, Way,
};
pub use world::{Assumption, World};
