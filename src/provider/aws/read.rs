//! What stands between the outside and the nodes: instances with their interfaces, groups with their rules, network
//! ACLs, prefix lists, and what EKS says of the cluster.
//!
//! Asked by filters, never one by one: two hundred ids a request and a thousand answers a page, so requests grow with
//! pages and not with nodes. A kind that cannot be read is unreadable, with the right that is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;

use futures_util::future::{join, join_all, try_join_all};
use http::Method;
use serde_json::Value;

use super::account::Service;
use super::answers::{
    DescribeInstances, DescribeManagedPrefixLists, DescribeNetworkAcls, DescribeSecurityGroupRules,
    DescribeSecurityGroups, GetManagedPrefixListEntries, Instance, Rule,
};
use super::form::Form;
use super::session::Session;
use super::{objects, session};
use crate::provider::http::{Call, Failure};
use crate::resource::Kind;
use crate::state::{CloudScope, Reason, State, Unreadable};

/// A filter takes this many values (EC2 API Reference, "Filter": 200).
const VALUES: usize = 200;

/// What could be read of some kinds, or why not.
pub(super) type Read = BTreeMap<Kind, Result<Vec<Value>, Unreadable>>;

/// Reads everything in scope.
pub(super) async fn read(session: &Session, scope: &CloudScope, state: &mut State) {
    let (mut read, cluster) = join(
        network(session, &scope.instances, &scope.groups),
        eks_cluster(session, scope.eks_cluster.as_deref()),
    )
    .await;
    read.insert(Kind::EksCluster, cluster);
    // The group that EKS made for the cluster may be on no instance yet, and is where rules belong.
    let named = cluster_group(&read).filter(|group| !has(&read, Kind::SecurityGroup, group));
    if let Some(group) = named {
        let more = groups(session, &[group].into()).await;
        for (kind, more) in more {
            add(&mut read, kind, more);
        }
    }
    for (kind, result) in read {
        let listed = result.and_then(|objects| {
            let failed = |detail| Unreadable {
                reason: Reason::Failed,
                detail,
            };
            state.listed(kind, objects).map_err(failed)
        });
        if let Err(why) = listed {
            state.unreadable(kind, why);
        }
    }
}

fn cluster_group(read: &Read) -> Option<String> {
    let clusters = read.get(&Kind::EksCluster)?.as_ref().ok()?;
    let group = clusters.first()?.pointer("/spec/clusterSecurityGroupId")?.as_str()?;
    Some(group.to_string())
}

fn has(read: &Read, kind: Kind, name: &str) -> bool {
    let Some(Ok(objects)) = read.get(&kind) else {
        return false;
    };
    objects.iter().any(|object| object["metadata"]["name"] == name)
}

/// Adds objects of a kind that was read in two parts; it is read only when both were.
fn add(read: &mut Read, kind: Kind, more: Result<Vec<Value>, Unreadable>) {
    match (read.get_mut(&kind), more) {
        (Some(Ok(objects)), Ok(more)) => {
            for object in more {
                if !objects
                    .iter()
                    .any(|there| there["metadata"]["name"] == object["metadata"]["name"])
                {
                    objects.push(object);
                }
            }
        }
        (Some(Ok(_)) | None, more) => {
            read.insert(kind, more);
        }
        (Some(Err(_)), _) => {}
    }
}

/// Instances, and what is known through them.
async fn network(session: &Session, instances: &BTreeSet<String>, named: &BTreeSet<String>) -> Read {
    let mut read = Read::new();
    let found = batches(instances, |ids| {
        session.all::<DescribeInstances>(Form::action("DescribeInstances").filter(1, "instance-id", ids))
    })
    .await;
    let found: Vec<Instance> = match found {
        Ok(reservations) => reservations
            .into_iter()
            .flat_map(|all| all.instances_set.item)
            .collect(),
        Err(failure) => {
            // What lies behind the instances is not known. Groups that are named are: all their rules are read.
            let why = session::unreadable(&failure, "ec2:DescribeInstances");
            for kind in [Kind::Instance, Kind::NetworkInterface, Kind::NetworkAcl] {
                read.insert(kind, Err(why.clone()));
            }
            read.append(&mut groups(session, named).await);
            return read;
        }
    };
    let interfaces = || {
        found
            .iter()
            .flat_map(|i| i.network_interface_set.item.iter().map(move |n| (i, n)))
    };
    let of_interfaces = interfaces().flat_map(|(_, n)| n.group_set.item.iter().map(|group| group.group_id.clone()));
    let groups_of: BTreeSet<String> = of_interfaces.chain(named.iter().cloned()).collect();
    let subnets: BTreeSet<String> = interfaces().filter_map(|(_, n)| n.subnet_id.clone()).collect();
    let objects = found.iter().map(objects::instance).collect();
    read.insert(Kind::Instance, Ok(objects));
    let objects = interfaces().map(|(instance, interface)| objects::interface(instance, interface));
    read.insert(Kind::NetworkInterface, Ok(objects.collect()));
    let acls = batches(&subnets, |ids| {
        let form = Form::action("DescribeNetworkAcls").filter(1, "association.subnet-id", ids);
        session.all::<DescribeNetworkAcls>(form)
    });
    let (mut groups, acls) = join(groups(session, &groups_of), acls).await;
    read.append(&mut groups);
    let acls = acls.map(|acls| {
        // One ACL can come with several batches of subnets.
        let by_id: BTreeMap<_, _> = acls
            .iter()
            .map(|acl| (&acl.network_acl_id, objects::acl(acl)))
            .collect();
        by_id.into_values().collect()
    });
    read.insert(
        Kind::NetworkAcl,
        acls.map_err(|failure| session::unreadable(&failure, "ec2:DescribeNetworkAcls")),
    );
    read
}

/// Groups with their rules, those that rules refer to by id only, and the prefix lists that rules name.
async fn groups(session: &Session, wanted: &BTreeSet<String>) -> Read {
    let describe = |ids: &BTreeSet<String>| {
        let ids = ids.clone();
        async move {
            batches(&ids, |ids| {
                let form = Form::action("DescribeSecurityGroups").filter(1, "group-id", ids);
                session.all::<DescribeSecurityGroups>(form)
            })
            .await
        }
    };
    let rules = batches(wanted, |ids| {
        let form = Form::action("DescribeSecurityGroupRules").filter(1, "group-id", ids);
        session.all::<DescribeSecurityGroupRules>(form)
    });
    let (mut found, rules) = join(describe(wanted), rules).await;
    let mut read = Read::new();
    match rules {
        Err(failure) => {
            let why = session::unreadable(&failure, "ec2:DescribeSecurityGroupRules");
            read.insert(Kind::SecurityGroupRule, Err(why.clone()));
            read.insert(Kind::PrefixList, Err(why));
        }
        Ok(rules) => {
            let referenced = rules
                .iter()
                .filter_map(|rule| rule.referenced_group_info.as_ref()?.group_id.clone());
            let referenced = referenced.filter(|group| !wanted.contains(group));
            let lists = rules.iter().filter_map(|rule| rule.prefix_list_id.clone()).collect();
            let (more, lists) = join(describe(&referenced.collect()), prefix_lists(session, &lists)).await;
            found = match (found, more) {
                (Ok(mut found), Ok(more)) => {
                    found.extend(more);
                    Ok(found)
                }
                (Err(failure), _) | (_, Err(failure)) => Err(failure),
            };
            read.insert(Kind::PrefixList, lists);
            read.insert(Kind::SecurityGroupRule, rule_objects(&rules));
        }
    }
    let groups = found.map(|groups| groups.iter().map(objects::group).collect());
    read.insert(
        Kind::SecurityGroup,
        groups.map_err(|failure| session::unreadable(&failure, "ec2:DescribeSecurityGroups")),
    );
    read
}

fn rule_objects(rules: &[Rule]) -> Result<Vec<Value>, Unreadable> {
    rules
        .iter()
        .map(objects::rule)
        .collect::<Result<_, _>>()
        .map_err(|detail| Unreadable {
            reason: Reason::Failed,
            detail,
        })
}

/// Prefix lists with their entries. Those that AWS or somebody else owns and keeps to itself make the kind unreadable:
/// what they let in is not known.
async fn prefix_lists(session: &Session, ids: &BTreeSet<String>) -> Result<Vec<Value>, Unreadable> {
    let lists = batches(ids, |ids| {
        let form = Form::action("DescribeManagedPrefixLists").filter(1, "prefix-list-id", ids);
        session.pages::<DescribeManagedPrefixLists>(form, 100)
    });
    let lists = lists
        .await
        .map_err(|failure| session::unreadable(&failure, "ec2:DescribeManagedPrefixLists"))?;
    let with_entries = lists.iter().map(|list| async move {
        let form = Form::action("GetManagedPrefixListEntries").with("PrefixListId", &list.prefix_list_id);
        let entries = session.pages::<GetManagedPrefixListEntries>(form, 100).await?;
        let entries = entries.into_iter().map(|entry| entry.cidr).collect();
        Ok(objects::prefix_list(list, entries))
    });
    let with_entries = join_all(with_entries).await.into_iter().collect::<Result<Vec<_>, _>>();
    with_entries.map_err(|failure| session::unreadable(&failure, "ec2:GetManagedPrefixListEntries"))
}

/// The cluster of that name; an empty list when EKS has none, or none is asked for.
async fn eks_cluster(session: &Session, name: Option<&str>) -> Result<Vec<Value>, Unreadable> {
    let Some(name) = name else { return Ok(Vec::new()) };
    let failed = |detail: String| Unreadable {
        reason: Reason::Failed,
        detail,
    };
    // EKS: ^[0-9A-Za-z][A-Za-z0-9_-]*, at most 100 characters. It becomes part of a path.
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)) {
        return Err(failed(format!("`{name}` is no name of an EKS cluster")));
    }
    let call = Call {
        method: Method::GET,
        origin: session.eks.origin.clone(),
        path: format!("/clusters/{name}"),
        content: "application/json",
        body: String::new(),
        changes_something: false,
    };
    match session.eks.caller.send(&call).await {
        Ok(answer) => {
            let answer: Value = serde_json::from_slice(&answer.body)
                .map_err(|_| failed(format!("{} did not answer with JSON", Service::Eks.name())))?;
            let cluster = objects::eks_cluster(name, &session.region, &answer).map_err(failed)?;
            Ok(vec![cluster])
        }
        Err(Failure::Refused(refused)) if refused.code == "ResourceNotFoundException" => Ok(Vec::new()),
        Err(failure) => Err(session::unreadable(&failure, "eks:DescribeCluster")),
    }
}

/// Asks for many ids, as many at a time as a filter takes, all at once.
async fn batches<'a, T, F>(ids: &'a BTreeSet<String>, ask: impl Fn(Vec<&'a String>) -> F) -> Result<Vec<T>, Failure>
where
    F: Future<Output = Result<Vec<T>, Failure>>,
{
    let all: Vec<&String> = ids.iter().collect();
    let asked = all.chunks(VALUES).map(|ids| ask(ids.to_vec()));
    Ok(try_join_all(asked).await?.into_iter().flatten().collect())
}
