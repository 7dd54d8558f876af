//! What differs by platform, as one table with its sources. Data only.

use super::Platform;

/// A row of the table.
pub struct Facts {
    pub platform: Platform,
    /// As the plan language spells it.
    pub name: &'static str,
    /// Interfaces whose names start so are workloads', never a named host endpoint's (Calico: FelixConfiguration
    /// `interfacePrefix`, default `cali`; the operator sets the others: tigera/operator `pkg/render/node.go`).
    pub interface_prefix: &'static str,
    /// Where nodes reach the API server. Felix's default failsafes hold 6443 and not 443 (Calico:
    /// `felix/config/config_params.go`).
    pub api_server_port: u16,
    /// The firewall that packets meet before the node; `None` where hostguard knows of none.
    pub in_front: Option<&'static str>,
}

/// Every platform, in the order of the enum.
pub const PLATFORMS: [Facts; 6] = [
    // Amazon VPC CNI names its interfaces eni…; EKS endpoints listen on 443 (EKS user guide, cluster endpoint).
    Facts {
        platform: Platform::Eks,
        name: "eks",
        interface_prefix: "eni",
        api_server_port: 443,
        in_front: Some("security groups and network ACLs"),
    },
    // Azure CNI names its interfaces azv…; AKS API servers listen on 443 (AKS documentation, outbound rules).
    Facts {
        platform: Platform::Aks,
        name: "aks",
        interface_prefix: "azv",
        api_server_port: 443,
        in_front: Some("network security groups"),
    },
    // GKE's CNI names its interfaces gke…; GKE control planes listen on 443 (GKE documentation, firewall rules).
    Facts {
        platform: Platform::Gke,
        name: "gke",
        interface_prefix: "gke",
        api_server_port: 443,
        in_front: Some("VPC firewall rules"),
    },
    // kubeadm's default `localAPIEndpoint.bindPort` (kubeadm-config v1beta4).
    Facts {
        platform: Platform::Kubeadm,
        name: "kubeadm",
        interface_prefix: "cali",
        api_server_port: 6443,
        in_front: None,
    },
    // RKE2's `https-listen-port`; its agents also use the supervisor on 9345 (RKE2 documentation, requirements).
    Facts {
        platform: Platform::Rke2,
        name: "rke2",
        interface_prefix: "cali",
        api_server_port: 6443,
        in_front: None,
    },
    Facts {
        platform: Platform::Generic,
        name: "generic",
        interface_prefix: "cali",
        api_server_port: 6443,
        in_front: None,
    },
];

impl Platform {
    pub fn facts(self) -> &'static Facts {
        &PLATFORMS[self as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_stands_at_its_platform() {
        for row in &PLATFORMS {
            assert_eq!(row.platform.facts().name, row.name);
        }
    }
}
