//! Failures of credentials, in words that hold no credential.
//!
//! kube's own texts for these repeat what a plugin printed, which is where tokens are, and snippets of the
//! kubeconfig. So every variant is named here, and what is not named gets no detail.

use kube::client::AuthError;
use kube::config::{KubeconfigError, LoadDataError};

use crate::error::{Error, codes};

/// What went wrong with a credential plugin, file or token.
pub(super) fn describe(error: &AuthError) -> String {
    match error {
        AuthError::AuthExecStart(io) => format!("the credential plugin cannot be run: {io}"),
        AuthError::AuthExecRun { out, .. } => match out.status.code() {
            Some(code) => format!("the credential plugin failed with exit status {code}"),
            None => "the credential plugin was ended by a signal".to_string(),
        },
        AuthError::AuthExecParse(_) | AuthError::ExecPluginFailed => {
            "the credential plugin printed no ExecCredential with a status".to_string()
        }
        AuthError::MissingCommand => "the kubeconfig's exec section names no command".to_string(),
        AuthError::ReadTokenFile(io, path) => format!("token file {}: {io}", path.display()),
        AuthError::InvalidBearerToken(_) => {
            "the token holds a character that no HTTP header can carry (a line break at its end?)".to_string()
        }
        AuthError::InvalidBasicAuth(_) => "the user name or password cannot be sent in an HTTP header".to_string(),
        AuthError::MalformedTokenExpirationDate(_) => "the expiry of the token is not a time".to_string(),
        AuthError::UnrefreshableTokenResponse => {
            "the credential plugin gave another kind of credential than before".to_string()
        }
        _ => "the kubeconfig's way to authenticate does not work here".to_string(),
    }
}

/// An error about credentials, with the way out.
pub(super) fn unusable(server: &str, what: String) -> Error {
    Error::failed(codes::CREDENTIALS, format!("no credentials for {server}: {what}"))
        .fix("run the credential plugin of the kubeconfig by hand, or log in again")
}

/// A client that cannot be built.
pub(super) fn client(server: &str, error: &kube::Error) -> Error {
    let kubeconfig = |what: &str| Error::failed(codes::KUBECONFIG, format!("{server}: {what}"));
    match error {
        kube::Error::Auth(auth) => unusable(server, describe(auth)),
        kube::Error::ProxyProtocolUnsupported { proxy_url } => kubeconfig(&format!(
            "a proxy with scheme `{}` is not supported",
            proxy_url.scheme_str().unwrap_or_default()
        ))
        .fix("use http, https or socks5 in proxy-url or HTTPS_PROXY"),
        kube::Error::RustlsTls(_) => {
            kubeconfig("its certificate authority, client certificate or client key is not usable PEM")
                .fix("mend them in the kubeconfig, or log in again")
        }
        _ => kubeconfig("no client can be made from the kubeconfig")
            .fix("mend it, or choose another file or context with --kubeconfig and --context"),
    }
}

/// A kubeconfig that cannot be used.
pub(super) fn kubeconfig(from: &str, error: &KubeconfigError) -> Error {
    let load = |what: &str, error: &LoadDataError| match error {
        LoadDataError::ReadFile(io, path) => format!("{what} {}: {io}", path.display()),
        LoadDataError::DecodeBase64(_) => format!("{what} is not base64"),
        LoadDataError::NoBase64DataOrFile => format!("{what} is missing"),
    };
    let what = match error {
        KubeconfigError::ReadConfig(io, path) => {
            return Error::failed(
                codes::KUBECONFIG,
                format!("kubeconfig {} cannot be read", path.display()),
            )
            .cause(io.to_string())
            .fix("name another file with --kubeconfig or KUBECONFIG");
        }
        KubeconfigError::Parse(error) => match error.location() {
            Some(place) => format!("not a kubeconfig: line {}, column {}", place.line(), place.column()),
            None => "not a kubeconfig".to_string(),
        },
        KubeconfigError::CurrentContextNotSet => "no current context is set".to_string(),
        KubeconfigError::LoadContext(name) => format!("there is no context `{name}`"),
        KubeconfigError::LoadClusterOfContext(name) => format!("there is no cluster `{name}`, which the context names"),
        KubeconfigError::MissingClusterUrl => "the cluster has no server".to_string(),
        KubeconfigError::ParseClusterUrl(_) => "the cluster's server is not a URL".to_string(),
        KubeconfigError::ParseProxyUrl(_) => "the proxy (proxy-url, HTTPS_PROXY) is not a URL".to_string(),
        KubeconfigError::LoadCertificateAuthority(error) => load("the certificate authority", error),
        KubeconfigError::LoadClientCertificate(error) => load("the client certificate", error),
        KubeconfigError::LoadClientKey(error) => load("the client key", error),
        KubeconfigError::ParseCertificates(_) => "the certificate authority is not PEM".to_string(),
        KubeconfigError::KindMismatch | KubeconfigError::ApiVersionMismatch => {
            "the files are not of the same kind and version".to_string()
        }
        KubeconfigError::FindPath => "there is no home directory to look in".to_string(),
        KubeconfigError::ParseNoProxy(_) => {
            "NO_PROXY is not a list of names, addresses and CIDRs separated by single commas".to_string()
        }
    };
    Error::failed(codes::KUBECONFIG, format!("{from}: {what}"))
        .fix("mend it, or choose another file or context with --kubeconfig and --context")
}
