//! A real API server does with each write what the simulated cluster does.

use std::time::Duration;

use hostguard::provider::cluster::{Cluster, Connect};

use crate::support::control_plane::Identity;
use crate::support::live::live;
use crate::support::pipeline::runtime;
use crate::support::semantics::{cases, play};
use crate::support::world;

#[test]
fn a_server_does_with_a_write_what_the_simulation_says() {
    let Some(server) = live!() else { return };
    let mut wrong = Vec::new();
    for case in cases() {
        server.reset();
        world::fresh_calico(&server);
        world::namespace(&server, "shop");
        let runtime = runtime();
        let connect = Connect {
            kubeconfig: Some(server.kubeconfig(Identity::Admin)),
            context: None,
            request_timeout: Duration::from_secs(10),
        };
        let cluster = runtime.block_on(Cluster::connect(connect)).expect("the server is up");
        wrong.extend(runtime.block_on(play(&case, &cluster, false)).err());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
