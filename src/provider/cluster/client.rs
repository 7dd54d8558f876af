//! From a kubeconfig to a client: which cluster, as whom, and how long that may take.
//!
//! Looks where kubectl looks. Credential plugins run here, in a thread of their own and under a deadline.
//! Sends nothing.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::client::ConfigExt;
use kube::config::{AuthInfo, ExecInteractiveMode, KubeConfigOptions, Kubeconfig};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tower::Layer;

use super::call::Limits;
use super::credentials;
use super::failure::seconds;
use crate::error::{Error, codes};
use crate::provider::proxy;

/// How to find the cluster.
#[derive(Clone, Debug)]
pub struct Connect {
    /// Instead of `KUBECONFIG` and `~/.kube/config`.
    pub kubeconfig: Option<PathBuf>,
    /// Instead of the kubeconfig's current context.
    pub context: Option<String>,
    /// For one request with its repetitions; a whole read may take four times as long.
    pub request_timeout: Duration,
}

/// Thirty seconds: above what a large LIST takes, below a person's patience.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

impl Default for Connect {
    fn default() -> Connect {
        Connect {
            kubeconfig: None,
            context: None,
            request_timeout: REQUEST_TIMEOUT,
        }
    }
}

/// A client, and what it is for in words.
pub(super) struct Connected {
    pub client: kube::Client,
    /// The kubeconfig's name of the cluster.
    pub name: String,
    /// The server's URL, without credentials.
    pub server: String,
    /// The proxy on the way, without credentials.
    pub proxy: Option<String>,
}

/// Builds the client. No request is sent, but a credential plugin may run.
pub(super) async fn connect(connect: &Connect, limits: &Limits) -> Result<Connected, Error> {
    let (mut config, name) = load(connect).await?;
    config.connect_timeout = Some(limits.connect);
    config.read_timeout = None; // the deadline of a call covers it, answer included
    config.write_timeout = None;
    config.default_retry = false; // kube's would repeat writes
    trim_token(&mut config.auth_info);
    let server = without_credentials(&config.cluster_url);
    let proxy = config.proxy_url.as_ref().map(without_credentials);
    let patience = if may_ask_a_person(&mut config) {
        limits.read
    } else {
        limits.call
    };
    let client = build(config, &server, patience).await?;
    Ok(Connected {
        client,
        name,
        server,
        proxy,
    })
}

/// Whether a credential plugin may talk to a person. One that may, but need not, does so only at a terminal: it
/// would swallow a plan that comes on standard input.
fn may_ask_a_person(config: &mut kube::Config) -> bool {
    let Some(exec) = &mut config.auth_info.exec else {
        return false;
    };
    let terminal = std::io::stdin().is_terminal();
    match exec.interactive_mode {
        Some(ExecInteractiveMode::Never) => false,
        Some(ExecInteractiveMode::Always) => true,
        Some(ExecInteractiveMode::IfAvailable) | None => {
            if !terminal {
                exec.interactive_mode = Some(ExecInteractiveMode::Never);
            }
            terminal
        }
    }
}

/// kube would run a credential plugin once for the header and twice more for a certificate it does not give: three
/// logins. Here the plugin runs once, unless it turns out to give a certificate.
fn client(mut config: kube::Config) -> Result<kube::Client, kube::Error> {
    let layer = match config.auth_info.exec {
        Some(_) => config.auth_layer()?,
        None => None,
    };
    let Some(layer) = layer else {
        return kube::Client::try_from(config);
    };
    config.auth_info.exec = None;
    let namespace = config.default_namespace.clone();
    let plain = kube::Client::try_from(config)?;
    let plain = tower::service_fn(move |request| {
        let plain = plain.clone();
        async move { plain.send(request).await.map_err(tower::BoxError::from) }
    });
    Ok(kube::Client::new(layer.layer(plain), namespace))
}

/// kubectl takes a token file with a line break at its end; kube would send the line break.
fn trim_token(user: &mut AuthInfo) {
    let Some(text) = user
        .token_file
        .as_ref()
        .and_then(|file| std::fs::read_to_string(file).ok())
    else {
        return;
    };
    if user.token.is_none() && text.trim() != text {
        user.token = Some(text.trim().to_string().into());
    }
}

/// kube runs credential plugins synchronously and without end. A thread of our own, not the runtime's: the
/// runtime would wait for it when it ends.
async fn build(config: kube::Config, server: &str, patience: Duration) -> Result<kube::Client, Error> {
    let runtime = tokio::runtime::Handle::current();
    let (sender, receiver) = oneshot::channel();
    std::thread::spawn(move || {
        let _context = runtime.enter();
        let _ = sender.send(self::client(config)); // nobody waits any more: nothing to do
    });
    match timeout(patience, receiver).await {
        Ok(Ok(Ok(client))) => Ok(client),
        Ok(Ok(Err(error))) => Err(credentials::client(server, &error)),
        Ok(Err(_)) => Err(credentials::unusable(
            server,
            "the client could not be made".to_string(),
        )),
        Err(_) => {
            let what = format!("the credential plugin did not end within {}", seconds(patience));
            Err(credentials::unusable(server, what))
        }
    }
}

/// The configuration and the name of the cluster.
async fn load(connect: &Connect) -> Result<(kube::Config, String), Error> {
    let Some((kubeconfig, from)) = find(connect, &Surroundings::of_this_process())? else {
        let config = kube::Config::incluster().map_err(|_| {
            Error::failed(
                codes::KUBECONFIG,
                "the pod's service account (token, ca.crt, namespace) cannot be read",
            )
        })?;
        return Ok((config, "in-cluster".to_string()));
    };
    let wanted = connect.context.clone().or_else(|| kubeconfig.current_context.clone());
    let wanted = wanted.filter(|name| !name.is_empty());
    let names: Vec<&str> = kubeconfig
        .contexts
        .iter()
        .map(|context| context.name.as_str())
        .collect();
    let Some(wanted) = wanted else {
        return Err(Error::failed(codes::KUBECONFIG, format!("{from}: no current context is set")).fix(choose(&names)));
    };
    let Some(context) = kubeconfig.contexts.iter().find(|context| context.name == wanted) else {
        let message = format!("{from}: there is no context `{wanted}`");
        return Err(Error::failed(codes::KUBECONFIG, message).fix(choose(&names)));
    };
    let name = context
        .context
        .as_ref()
        .map(|context| context.cluster.clone())
        .unwrap_or_default();
    let cluster = kubeconfig.clusters.iter().find(|cluster| cluster.name == name);
    let named = cluster.and_then(|cluster| cluster.cluster.as_ref()?.proxy_url.clone());
    let options = KubeConfigOptions {
        context: Some(wanted),
        cluster: None,
        user: None,
    };
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await;
    let mut config = config.map_err(|e| credentials::kubeconfig(&from, &e))?;
    // A proxy-url of the kubeconfig holds whatever NO_PROXY says.
    let named = named.filter(|url| !url.is_empty());
    let proxy = named.or_else(|| proxy::from_environment(&config.cluster_url, &|name| std::env::var(name).ok()));
    config.proxy_url = match proxy.map(|url| url.parse()) {
        None => None,
        Some(Ok(url)) => Some(url),
        Some(Err(_)) => {
            let message = format!("{from}: the proxy (proxy-url, HTTPS_PROXY) is not a URL");
            return Err(Error::failed(codes::KUBECONFIG, message).fix("write it as http://HOST:PORT"));
        }
    };
    Ok((config, name))
}

fn choose(contexts: &[&str]) -> String {
    match contexts {
        [] => "name another file with --kubeconfig: this one has no contexts".to_string(),
        _ => format!("choose one with --context: {}", contexts.join(", ")),
    }
}

/// What the process was started with.
struct Surroundings {
    /// `KUBECONFIG`.
    listed: OsString,
    home: Option<PathBuf>,
    in_a_pod: bool,
}

impl Surroundings {
    fn of_this_process() -> Surroundings {
        Surroundings {
            listed: std::env::var_os("KUBECONFIG").unwrap_or_default(),
            home: std::env::home_dir(),
            in_a_pod: std::env::var_os("KUBERNETES_SERVICE_HOST").is_some(),
        }
    }
}

/// The kubeconfig and where it is from; `None`: there is none, and this is a pod.
fn find(connect: &Connect, around: &Surroundings) -> Result<Option<(Kubeconfig, String)>, Error> {
    if let Some(path) = &connect.kubeconfig {
        return read(std::slice::from_ref(path)).map(Some);
    }
    let listed = std::env::split_paths(&around.listed).filter(|path| !path.as_os_str().is_empty());
    let listed: Vec<PathBuf> = listed.collect();
    if !listed.is_empty() {
        let there: Vec<PathBuf> = listed.iter().filter(|path| path.exists()).cloned().collect();
        if there.is_empty() {
            let message = format!(
                "no kubeconfig: none of the files in KUBECONFIG exists ({})",
                names(&listed)
            );
            return Err(
                Error::failed(codes::KUBECONFIG, message).fix("correct KUBECONFIG, or name a file with --kubeconfig")
            );
        }
        return read(&there).map(Some);
    }
    match around.home.as_ref().map(|home| home.join(".kube").join("config")) {
        Some(path) if path.exists() => read(&[path]).map(Some),
        _ if around.in_a_pod => Ok(None),
        _ => Err(Error::failed(
            codes::KUBECONFIG,
            "no kubeconfig: KUBECONFIG is not set, there is no ~/.kube/config",
        )
        .fix("name a file with --kubeconfig")),
    }
}

/// The files merged: the first to name a thing wins.
fn read(paths: &[PathBuf]) -> Result<(Kubeconfig, String), Error> {
    let from = names(paths);
    let mut merged = Kubeconfig::default();
    for path in paths {
        let next = Kubeconfig::read_from(path).map_err(|e| credentials::kubeconfig(&path.display().to_string(), &e))?;
        merged = merged.merge(next).map_err(|e| credentials::kubeconfig(&from, &e))?;
    }
    Ok((merged, from))
}

fn names(paths: &[PathBuf]) -> String {
    let names: Vec<String> = paths.iter().map(|path| Path::display(path).to_string()).collect();
    names.join(", ")
}

/// `https://host:port/prefix`, without a user name and password.
fn without_credentials(url: &http::Uri) -> String {
    let authority = url.authority().map(http::uri::Authority::as_str).unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!(
        "{}://{host}{}",
        url.scheme_str().unwrap_or("https"),
        url.path().trim_end_matches('/')
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around(listed: &[&Path], home: Option<&Path>, in_a_pod: bool) -> Surroundings {
        let listed = std::env::join_paths(listed).expect("no colon in a test's directory");
        Surroundings {
            listed,
            home: home.map(Path::to_path_buf),
            in_a_pod,
        }
    }

    fn context(name: &str, cluster: &str) -> String {
        format!("current-context: {name}\ncontexts: [{{name: {name}, context: {{cluster: {cluster}}}}}]\n")
    }

    #[test]
    fn a_kubeconfig_is_found_where_kubectl_finds_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let (one, two, missing) = (
            dir.path().join("one"),
            dir.path().join("two"),
            dir.path().join("missing"),
        );
        std::fs::write(&one, context("a", "from-one")).expect("a file");
        std::fs::write(
            &two,
            context("a", "from-two") + "clusters: [{name: from-two, cluster: {server: x}}]",
        )
        .expect("a file");
        let home = dir.path().join("home");
        std::fs::create_dir_all(home.join(".kube")).expect("a directory");
        std::fs::write(home.join(".kube/config"), context("h", "from-home")).expect("a file");
        let found = |connect: &Connect, around: &Surroundings| {
            find(connect, around).map(|found| found.map(|(config, _)| config))
        };
        let cluster = |config: &Kubeconfig| config.contexts[0].context.as_ref().expect("a context").cluster.clone();

        let named = Connect {
            kubeconfig: Some(two.clone()),
            ..Connect::default()
        };
        let config = found(&named, &around(&[&one], Some(&home), true))
            .expect("found")
            .expect("a file");
        assert_eq!(cluster(&config), "from-two", "--kubeconfig wins");
        let none = Connect::default();
        let config = found(&none, &around(&[&missing, &one, &two], Some(&home), true))
            .expect("found")
            .expect("files");
        assert_eq!(cluster(&config), "from-one", "the first file to name a thing wins");
        assert_eq!(config.clusters.len(), 1, "the second adds what the first lacks");
        let config = found(&none, &around(&[], Some(&home), true))
            .expect("found")
            .expect("a file");
        assert_eq!(cluster(&config), "from-home");
        assert!(
            found(&none, &around(&[], Some(&missing), true))
                .expect("in a pod")
                .is_none()
        );
        for nothing in [around(&[], None, false), around(&[&missing], Some(&home), true)] {
            assert_eq!(found(&none, &nothing).expect_err("nothing").code, codes::KUBECONFIG);
        }
    }
}
