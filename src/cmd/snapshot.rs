//! `hostguard snapshot`: live state to a file, redacted.

use std::path::Path;

use super::{Console, Failure, files, world};
use crate::cli::Snapshot;
use crate::provider::snapshot::{encode, seal, write_atomically};
use crate::resource::Kind;
use crate::state::Scope;

pub(super) async fn run(args: &Snapshot, console: &mut dyn Console) -> Result<u8, Failure> {
    let provider = world::open(&args.world, "snapshot").await?;
    let scope = world::scope(
        &args.world,
        Scope {
            // what was done and who does it now is no part of the world
            kinds: Kind::ALL
                .into_iter()
                .filter(|kind| !matches!(kind, Kind::Run | Kind::Lease))
                .collect(),
            inventory_namespace: args.world.inventory_namespace.clone(),
            cloud: None,
        },
    );
    let state = provider.read(&scope).await?.redacted();
    // A copy of a snapshot is as old as the snapshot.
    let time = match &state.facts.snapshot {
        Some(played) => played.time.clone(),
        None => format!("{:.0}", jiff::Timestamp::now()),
    };
    let bytes = seal(encode(&state, &time));
    if args.out == "-" {
        console.answer(&String::from_utf8_lossy(&bytes));
    } else {
        write_atomically(Path::new(&args.out), &bytes).map_err(|e| files::unwritable(&args.out, &e))?;
        console.story(&format!(
            "{}: {} objects of cluster {}",
            args.out,
            state.count(),
            state.facts.name
        ));
    }
    for (kind, why) in state.coverage() {
        if let Some(why) = why {
            console.story(&format!("{kind} could not be read: {why}"));
        }
    }
    Ok(0)
}
