//! What differs between Calico's releases and matters to a plan, as one table.
//!
//! Read at the tags v3.28.5, v3.29.7, v3.30.7, v3.31.7 and v3.32.1. hostguard writes what is valid in every row where
//! that is possible (names as `tier.name` in tiers of their own); the table says which row a cluster is in.

/// Releases from `first` on, up to the next row.
#[derive(Debug, PartialEq, Eq)]
pub struct Release {
    /// Major and minor.
    pub first: (u64, u64),
    /// For people.
    pub name: &'static str,
    /// Whether open source Calico has tiers of one's own (PR 9085, v3.29).
    pub tiers: bool,
    /// Whether a policy in a tier of its own must be named `tier.name` (`libcalico-go/lib/names/policy.go`,
    /// `ValidateTieredPolicyName`, until v3.31).
    pub prefix_required: bool,
    /// What decides between equal orders (`felix/calc/policy_sorter.go`).
    pub tie_break: TieBreak,
    /// Whether host endpoint templates exist (v3.30), and their `interfacePattern` (v3.31).
    pub templates: bool,
    pub interface_pattern: bool,
}

/// `a` and `a-b` with equal orders: which comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TieBreak {
    /// By the stored name: `a` first.
    Name,
    /// By `name/namespace/kind`, in which `-` and `.` sort before `/`: `a-b` first.
    NameNamespaceKind,
}

/// Oldest first.
pub const RELEASES: [Release; 5] = [
    Release {
        first: (3, 0),
        name: "v3.28 and older",
        tiers: false,
        prefix_required: false,
        tie_break: TieBreak::Name,
        templates: false,
        interface_pattern: false,
    },
    Release {
        first: (3, 29),
        name: "v3.29",
        tiers: true,
        prefix_required: true,
        tie_break: TieBreak::Name,
        templates: false,
        interface_pattern: false,
    },
    Release {
        first: (3, 30),
        name: "v3.30",
        tiers: true,
        prefix_required: true,
        tie_break: TieBreak::Name,
        templates: true,
        interface_pattern: false,
    },
    Release {
        first: (3, 31),
        name: "v3.31",
        tiers: true,
        prefix_required: true,
        tie_break: TieBreak::Name,
        templates: true,
        interface_pattern: true,
    },
    Release {
        first: (3, 32),
        name: "v3.32 and newer",
        tiers: true,
        prefix_required: false,
        tie_break: TieBreak::NameNamespaceKind,
        templates: true,
        interface_pattern: true,
    },
];

/// The row of a version as ClusterInformation shows it (`v3.31.2`); `None` where it is no such version.
pub fn release(version: &str) -> Option<&'static Release> {
    let mut parts = version.strip_prefix('v')?.split('.');
    let number = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    RELEASES.iter().rev().find(|row| row.first <= number)
}

impl Release {
    /// The row in words, for an answer.
    pub fn words(&self) -> String {
        let names = if self.prefix_required {
            "policies in a tier are named tier.name"
        } else {
            "policy names need no prefix"
        };
        let ties = match self.tie_break {
            TieBreak::Name => "equal orders go by name",
            TieBreak::NameNamespaceKind => "equal orders go by name/namespace/kind (a-b before a)",
        };
        if self.tiers {
            format!("rules of {}: {names}; {ties}", self.name)
        } else {
            format!("rules of {}: no tiers; {ties}", self.name)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_fall_into_rows() {
        let name = |version| release(version).map(|row| row.name);
        assert_eq!(name("v3.26.1"), Some("v3.28 and older"));
        assert_eq!(name("v3.29.0-0.dev"), Some("v3.29"));
        assert_eq!(name("v3.31.7"), Some("v3.31"));
        assert_eq!(name("v3.34.0"), Some("v3.32 and newer"));
        assert_eq!(name("v4.0.0"), Some("v3.32 and newer"));
        for odd in ["master", "3.31.0", "v3", "v2.6.0"] {
            assert_eq!(name(odd), None, "{odd}");
        }
    }

    #[test]
    fn rows_ascend() {
        assert!(RELEASES.windows(2).all(|pair| pair[0].first < pair[1].first));
    }
}
