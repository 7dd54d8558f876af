//! Who asks and where: credentials, region and endpoints, found where every AWS tool finds them.
//!
//! Credentials come from the environment, the profile (SSO, a process, assumed roles), a web identity or the metadata
//! service. Nothing is sent to a plain HTTP endpoint unless it is on this machine.

use std::net::IpAddr;
use std::time::Duration;

use aws_config::imds;
use aws_config::provider_config::ProviderConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_types::service_config::ServiceConfigKey;
use http::Uri;

use crate::provider::http::Web;

/// What the environment says about an account.
#[derive(Debug)]
pub(super) struct Account {
    pub region: String,
    pub config: SdkConfig,
}

/// The way to AWS, trusting the file that `AWS_CA_BUNDLE` names.
pub(super) fn web(connect: Duration) -> Result<Web, String> {
    let variable = |name: &str| std::env::var(name).ok();
    let bundle = variable("AWS_CA_BUNDLE").filter(|path| !path.is_empty());
    let ca = bundle.map(|path| {
        let pem = std::fs::read(&path).map_err(|error| format!("AWS_CA_BUNDLE {path} cannot be read: {error}"))?;
        let certificate = pem.windows(27).any(|bytes| bytes == b"-----BEGIN CERTIFICATE-----");
        if !certificate {
            return Err(format!("AWS_CA_BUNDLE {path} holds no certificate"));
        }
        Ok(pem)
    });
    Web::new(ca.transpose()?.as_deref(), connect, &variable)
}

/// Finds the account. `region` is what the flag or the cluster says; without it the environment, the profile and the
/// instance that this runs on are asked.
pub(super) async fn find(web: &Web, region: Option<&str>) -> Result<Account, String> {
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(web.for_credentials());
    if let Some(region) = region {
        loader = loader.region(Region::new(region.to_string()));
    }
    Account::of(loader.load().await)
}

/// A client of the metadata service of the instance that this runs on.
pub(super) fn metadata(web: &Web) -> imds::Client {
    let config = ProviderConfig::default().with_http_client(web.for_credentials());
    imds::Client::builder().configure(&config).max_attempts(2).build()
}

/// A service of AWS: its name in signatures and host names, and its id in configuration files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    Ec2,
    Eks,
}

impl Service {
    pub fn name(self) -> &'static str {
        match self {
            Service::Ec2 => "ec2",
            Service::Eks => "eks",
        }
    }

    fn id(self) -> &'static str {
        match self {
            Service::Ec2 => "EC2",
            Service::Eks => "EKS",
        }
    }
}

impl Account {
    /// An account whose region is known.
    pub fn of(config: SdkConfig) -> Result<Account, String> {
        let Some(region) = config.region().map(ToString::to_string) else {
            return Err("no region is known: give --region, set AWS_REGION, or name it in the profile".to_string());
        };
        // It becomes part of a host name.
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if region.is_empty() || !region.chars().all(plain) {
            return Err(format!("`{region}` is no region, such as us-east-2"));
        }
        Ok(Account { region, config })
    }

    /// Scheme, host and port of a service, and whether they are the public ones.
    pub fn origin(&self, service: Service) -> Result<(String, bool), String> {
        let key = ServiceConfigKey::builder()
            .service_id(service.id())
            .env("AWS_ENDPOINT_URL")
            .profile("endpoint_url")
            .build()
            .expect("all three parts are given");
        let configured = self.config.service_config().and_then(|config| config.load_config(key));
        let configured = configured.or_else(|| self.config.endpoint_url().map(ToString::to_string));
        match configured {
            Some(url) => Ok((checked(&url)?, false)),
            None => {
                let fips = self.config.use_fips().unwrap_or(false);
                let dual = self.config.use_dual_stack().unwrap_or(false);
                Ok((format!("https://{}", host(service, &self.region, fips, dual)), true))
            }
        }
    }
}

/// The host of a service in a region.
///
/// Source: AWS General Reference, "Amazon EC2 endpoints" and "Amazon EKS endpoints"; `partitions.json` of botocore.
fn host(service: Service, region: &str, fips: bool, dual: bool) -> String {
    let (suffix, dual_suffix) = match region.split('-').collect::<Vec<_>>()[..] {
        ["cn", ..] => ("amazonaws.com.cn", "api.amazonwebservices.com.cn"),
        ["us", "iso", ..] => ("c2s.ic.gov", "api.aws.ic.gov"),
        ["us", "isob", ..] => ("sc2s.sgov.gov", "api.aws.scloud"),
        ["us", "isof", ..] => ("csp.hci.ic.gov", "api.aws.hci.ic.gov"),
        ["eu", "isoe", ..] => ("cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"),
        ["eusc", ..] => ("amazonaws.eu", "api.amazonwebservices.eu"),
        _ => ("amazonaws.com", "api.aws"),
    };
    let suffix = if dual { dual_suffix } else { suffix };
    let government = region.starts_with("us-gov-");
    match (service, fips) {
        // In the government regions the plain names are the validated ones.
        (Service::Ec2, true) if government && !dual => format!("ec2.{region}.{suffix}"),
        (Service::Eks, true) if government && !dual => format!("eks.{region}.{suffix}"),
        (Service::Ec2, true) => format!("ec2-fips.{region}.{suffix}"),
        (Service::Eks, true) if dual => format!("eks-fips.{region}.{suffix}"),
        (Service::Eks, true) => format!("fips.eks.{region}.{suffix}"),
        (_, false) => format!("{}.{region}.{suffix}", service.name()),
    }
}

/// Scheme, host and port of a configured endpoint.
fn checked(url: &str) -> Result<String, String> {
    let wrong = |why: &str| Err(format!("the endpoint {} {why}", shown(url)));
    let Ok(uri) = url.parse::<Uri>() else {
        return wrong("is no URL");
    };
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return wrong("is no URL with https:// and a host");
    };
    if authority.as_str().contains('@') {
        return wrong("holds a name or password");
    }
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return wrong("has a path");
    }
    let host = authority.host().trim_matches(['[', ']']);
    let here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    match scheme {
        "https" => {}
        "http" if here => {}
        "http" => return wrong("is not encrypted, and not on this machine"),
        _ => return wrong("is neither https nor http"),
    }
    Ok(format!("{scheme}://{authority}"))
}

/// A URL without what could be a secret in it.
fn shown(url: &str) -> String {
    match url.rsplit_once('@') {
        Some((_, rest)) => format!("…@{rest}"),
        None => url.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_follow_the_partition() {
        let cases = [
            (Service::Ec2, "us-east-2", false, false, "ec2.us-east-2.amazonaws.com"),
            (
                Service::Eks,
                "cn-north-1",
                false,
                false,
                "eks.cn-north-1.amazonaws.com.cn",
            ),
            (
                Service::Ec2,
                "us-iso-east-1",
                false,
                false,
                "ec2.us-iso-east-1.c2s.ic.gov",
            ),
            (
                Service::Ec2,
                "us-west-2",
                true,
                false,
                "ec2-fips.us-west-2.amazonaws.com",
            ),
            (
                Service::Eks,
                "us-west-2",
                true,
                false,
                "fips.eks.us-west-2.amazonaws.com",
            ),
            (
                Service::Ec2,
                "us-gov-west-1",
                true,
                false,
                "ec2.us-gov-west-1.amazonaws.com",
            ),
            (Service::Ec2, "eu-west-1", false, true, "ec2.eu-west-1.api.aws"),
        ];
        for (service, region, fips, dual, wanted) in cases {
            assert_eq!(host(service, region, fips, dual), wanted);
        }
    }

    #[test]
    fn an_endpoint_is_encrypted_or_here() {
        for (url, origin) in [
            ("http://127.0.0.1:5555", "http://127.0.0.1:5555"),
            ("http://[::1]:5555/", "http://[::1]:5555"),
            ("http://localhost:4566/", "http://localhost:4566"),
            (
                "https://vpce-1.ec2.us-east-2.vpce.amazonaws.com",
                "https://vpce-1.ec2.us-east-2.vpce.amazonaws.com",
            ),
        ] {
            assert_eq!(checked(url).as_deref(), Ok(origin));
        }
        for (url, why) in [
            ("http://10.0.0.1:5555", "not encrypted"),
            ("https://u:secret@host", "a name or password"),
            ("https://host/path", "has a path"),
            ("ftp://127.0.0.1", "neither"),
            ("host", "no URL"),
        ] {
            let error = checked(url).expect_err(url);
            assert!(error.contains(why), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
