//! Values that AWS knows: the public address of the instance that this runs on, and of any other.

use std::net::{IpAddr, Ipv4Addr};

use aws_config::imds::client::error::ImdsError;

use super::account::{self, Service};
use super::answers::DescribeInstances;
use super::form::Form;
use super::session::{Session, words};
use crate::provider::http::{Web, innermost};

/// A value, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub value: IpAddr,
    /// For people: what was asked, and where.
    pub from: String,
}

/// The public IPv4 address of the instance that this runs on, from its metadata service.
pub(super) async fn own_public_ipv4(web: &Web) -> Result<Found, String> {
    let path = "/latest/meta-data/public-ipv4";
    let answer = account::metadata(web).get(path).await;
    let answer = answer.map_err(|error| match &error {
        ImdsError::ErrorResponse(answer) if answer.response().status().as_u16() == 404 => {
            "this instance has no public IPv4 address".to_string()
        }
        other => format!(
            "the metadata service of this instance does not answer: {}",
            innermost(other)
        ),
    })?;
    let text = String::from(answer);
    let value: Ipv4Addr = text
        .trim()
        .parse()
        .map_err(|_| "the metadata service answers with something that is no IPv4 address".to_string())?;
    Ok(Found {
        value: value.into(),
        from: format!("the metadata service of this instance ({path})"),
    })
}

/// The public IPv4 address of an instance.
pub(super) async fn instance_public_ip(session: &Session, id: &str) -> Result<Found, String> {
    let region = &session.region;
    let form = Form::action("DescribeInstances").filter(1, "instance-id", [&id.to_string()]);
    let found = session.all::<DescribeInstances>(form).await;
    let found = found.map_err(|failure| words(&failure, "ec2:DescribeInstances"))?;
    let mut instances = found.into_iter().flat_map(|reservation| reservation.instances_set.item);
    let instance = instances.find(|instance| instance.instance_id == id);
    let instance = instance.ok_or_else(|| format!("there is no instance {id} in {region}"))?;
    let address = instance.ip_address.filter(|address| !address.is_empty());
    let address = address.ok_or_else(|| format!("instance {id} in {region} has no public IPv4 address"))?;
    let value = address
        .parse()
        .map_err(|_| format!("{} says that {id} has the address {address}", Service::Ec2.name()))?;
    Ok(Found {
        value,
        from: format!("{id} in {region} (ec2:DescribeInstances)"),
    })
}
