//! EC2's answers as XML gives them: lists of `<item>`, what is absent and what is empty.
//!
//! Only what is used is named. Names are the API's (EC2 API Reference, version 2016-11-15).

use serde::Deserialize;

/// A list. EC2 writes an empty one as an empty element, or leaves it out.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Items<T> {
    #[serde(default = "Vec::new")]
    pub item: Vec<T>,
}

impl<T> Default for Items<T> {
    fn default() -> Self {
        Items { item: Vec::new() }
    }
}

/// An answer that comes in pages.
pub(super) trait Page: for<'de> Deserialize<'de> {
    type Item: Send;

    fn parts(self) -> (Vec<Self::Item>, Option<String>);
}

macro_rules! page {
    ($name:ident, $field:ident: $item:ty) => {
        #[derive(Debug, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub(super) struct $name {
            $field: Items<$item>,
            next_token: Option<String>,
        }

        impl Page for $name {
            type Item = $item;

            fn parts(self) -> (Vec<$item>, Option<String>) {
                (
                    self.$field.item,
                    self.next_token.filter(|token| !token.is_empty()),
                )
            }
        }
    };
}

page!(DescribeInstances, reservation_set: Reservation);
page!(DescribeSecurityGroups, security_group_info: Group);
page!(DescribeSecurityGroupRules, security_group_rule_set: Rule);
page!(DescribeNetworkAcls, network_acl_set: Acl);
page!(DescribeManagedPrefixLists, prefix_list_set: List);
page!(GetManagedPrefixListEntries, entry_set: Entry);

/// Of a write that makes rules.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Authorized {
    #[serde(default)]
    pub security_group_rule_set: Items<Rule>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reservation {
    #[serde(default)]
    pub instances_set: Items<Instance>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Instance {
    pub instance_id: String,
    pub instance_state: Option<InstanceState>,
    pub vpc_id: Option<String>,
    pub subnet_id: Option<String>,
    pub private_ip_address: Option<String>,
    /// The public address; EC2 calls it like this.
    pub ip_address: Option<String>,
    #[serde(default)]
    pub network_interface_set: Items<Interface>,
    #[serde(default)]
    pub tag_set: Items<Tag>,
}

#[derive(Debug, Deserialize)]
pub(super) struct InstanceState {
    pub name: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Interface {
    pub network_interface_id: String,
    pub subnet_id: Option<String>,
    pub vpc_id: Option<String>,
    pub attachment: Option<Attachment>,
    #[serde(default)]
    pub group_set: Items<GroupId>,
    #[serde(default)]
    pub private_ip_addresses_set: Items<PrivateAddress>,
    #[serde(default)]
    pub ipv6_addresses_set: Items<Ipv6Address>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Attachment {
    pub device_index: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GroupId {
    pub group_id: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PrivateAddress {
    pub private_ip_address: String,
    pub association: Option<Association>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Association {
    pub public_ip: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Ipv6Address {
    pub ipv6_address: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Tag {
    pub key: String,
    #[serde(default)]
    pub value: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Group {
    pub group_id: String,
    #[serde(default)]
    pub group_name: String,
    pub vpc_id: Option<String>,
    #[serde(default)]
    pub tag_set: Items<Tag>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rule {
    pub security_group_rule_id: String,
    pub group_id: String,
    pub is_egress: bool,
    pub ip_protocol: String,
    pub from_port: Option<i32>,
    pub to_port: Option<i32>,
    pub cidr_ipv4: Option<String>,
    pub cidr_ipv6: Option<String>,
    pub prefix_list_id: Option<String>,
    pub referenced_group_info: Option<ReferencedGroup>,
    pub description: Option<String>,
    #[serde(default)]
    pub tag_set: Items<Tag>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReferencedGroup {
    pub group_id: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Acl {
    pub network_acl_id: String,
    pub vpc_id: Option<String>,
    #[serde(default)]
    pub association_set: Items<AclAssociation>,
    #[serde(default)]
    pub entry_set: Items<AclEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AclAssociation {
    pub subnet_id: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AclEntry {
    pub rule_number: u32,
    pub protocol: String,
    pub rule_action: String,
    pub egress: bool,
    pub cidr_block: Option<String>,
    pub ipv6_cidr_block: Option<String>,
    pub port_range: Option<PortRange>,
    pub icmp_type_code: Option<IcmpTypeCode>,
}

#[derive(Debug, Deserialize)]
pub(super) struct PortRange {
    pub from: Option<i32>,
    pub to: Option<i32>,
}

#[derive(Debug, Deserialize)]
pub(super) struct IcmpTypeCode {
    pub code: Option<i32>,
    pub r#type: Option<i32>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct List {
    pub prefix_list_id: String,
    #[serde(default)]
    pub prefix_list_name: String,
    #[serde(default)]
    pub address_family: String,
    /// What a rule that names the list counts against the quota of its group.
    pub max_entries: Option<u32>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Entry {
    pub cidr: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_empty_absent_and_full() {
        let page = |xml: &str| {
            let page: DescribeInstances = quick_xml::de::from_str(xml).expect("an answer");
            page.parts()
        };
        let xml = r#"<?xml version="1.0"?><DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
            <requestId>x</requestId><reservationSet/><nextToken></nextToken></DescribeInstancesResponse>"#;
        let (none, rest) = page(xml);
        assert!(none.is_empty() && rest.is_none());
        let xml = "<R><reservationSet><item><instancesSet><item><instanceId>i-1</instanceId><amiLaunchIndex>0\
                   </amiLaunchIndex><tagSet><item><key>Name</key><value>a &amp; b</value></item><item><key>k</key><value/>\
                   </item></tagSet></item></instancesSet></item><item><instancesSet><item><instanceId>i-2</instanceId>\
                   </item></instancesSet></item></reservationSet><nextToken>t</nextToken></R>";
        let (two, rest) = page(xml);
        assert_eq!(two.len(), 2);
        let first = &two[0].instances_set.item[0];
        assert_eq!(first.tag_set.item[0].value, "a & b");
        assert_eq!(first.tag_set.item[1].value, "");
        assert!(first.network_interface_set.item.is_empty());
        assert_eq!(rest.as_deref(), Some("t"));
    }
}
