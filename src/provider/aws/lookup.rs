//! The public address of the instance that this runs on, from its metadata service.

use std::net::Ipv4Addr;

use aws_config::imds::client::error::ImdsError;

use super::account;
use crate::provider::http::{Web, innermost};

/// What a plan calls it.
pub(super) const OWN_PUBLIC_IPV4: &str = "imds/public-ipv4";

/// Source: EC2 user guide, "Instance metadata categories"; there is no such category without a public address.
pub(super) async fn own_public_ipv4(web: &Web) -> Result<String, String> {
    let answer = account::metadata(web).get("/latest/meta-data/public-ipv4").await;
    let answer = answer.map_err(|error| match &error {
        ImdsError::ErrorResponse(answer) if answer.response().status().as_u16() == 404 => {
            "this instance has no public IPv4 address".to_string()
        }
        other => format!(
            "the metadata service of this instance does not answer: {}",
            innermost(other)
        ),
    })?;
    let address: Result<Ipv4Addr, _> = answer.as_ref().trim().parse();
    match address {
        Ok(address) => Ok(address.to_string()),
        Err(_) => Err("the metadata service answers with something that is no IPv4 address".to_string()),
    }
}
