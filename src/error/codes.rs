//! The stable codes: one row each, with the text of `hostguard explain CODE`.
//!
//! A code never changes its meaning and is never used again. `tests/` holds a golden case for every row.

use std::fmt;

/// A stable code, `HG` and four digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Code(pub(crate) &'static str);

impl Code {
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// A row of the table.
pub struct Explanation {
    pub code: Code,
    /// What is wrong, in a few words.
    pub title: &'static str,
    /// Why hostguard refuses it, and what to do. Plain text, wrapped by the reader.
    pub text: &'static str,
}

macro_rules! codes {
    ($($name:ident $code:literal $title:literal $text:literal)*) => {
        $(pub const $name: Code = Code($code);)*
        /// Every code, ascending.
        pub const ALL: &[Explanation] = &[$(Explanation { code: $name, title: $title, text: $text },)*];
    };
}

codes! {
    // 00: the text itself
    SYNTAX "HG0001" "not valid YAML"
        "The text cannot be read as YAML 1.2. Nothing after the marked place was looked at in this document, so there may be more mistakes."
    DUPLICATE_KEY "HG0002" "the same key twice"
        "YAML requires the keys of a mapping to be unique. Many readers silently keep the last one, which in a firewall plan means a rule that the author sees and the cluster never gets."
    // 06: the cluster
    KUBECONFIG "HG0601" "no usable kubeconfig"
        "hostguard looks where kubectl looks: --kubeconfig, then the files in KUBECONFIG (those that exist are merged, the first to name a thing wins), then ~/.kube/config, then the service account of the pod it runs in. What it found there does not say which server to ask or as whom. `kubectl config get-contexts` shows what a kubeconfig holds; --context picks one."
    CREDENTIALS "HG0602" "the credentials cannot be had"
        "The kubeconfig names a credential plugin, a token file or a client certificate that gave nothing usable. What a plugin prints is never repeated here, because that is where tokens are: run the plugin's command by hand to see it. A plugin that is still running when the time is up is given up."
    UNREACHABLE "HG0603" "the API server cannot be reached"
        "No connection to the API server came about, or each one broke before an answer. Nothing was read and nothing was written. Check the server's address in the kubeconfig, the proxy (proxy-url, HTTPS_PROXY, NO_PROXY), the VPN, and whether the server's certificate is signed by the authority that the kubeconfig names."
    UNANSWERED "HG0604" "the API server does not answer in time"
        "A connection to the API server came about, but no complete answer within the time of --request-timeout. Nothing was written. A server that is slow but alive is given more time with a larger --request-timeout."
    UNAUTHORIZED "HG0605" "the API server does not accept the credentials"
        "The server answered 401: it does not know who is asking. Tokens and client certificates expire; log in again, or choose another context. This is not about missing rights: those are reported kind by kind."
    NOT_API_SERVER "HG0606" "the answer is not one of an API server"
        "What answered speaks HTTP but is no Kubernetes API server: a load balancer's error page, a login page, or a proxy. Nothing of it is used, because a page must never be taken for an empty list."
    DISCOVERY "HG0607" "the served API groups cannot be read"
        "Which groups the server serves decides how Calico's objects are written: by Calico's API server, as native resources, or not at all. Without that list hostguard would have to guess, and a wrong guess is a policy that nothing validates. Every authenticated user normally has this right, by the ClusterRole system:discovery."
    ACCESS_REVIEW "HG0608" "permissions cannot be checked"
        "Before the first write hostguard asks the server whether it may make every one of them (SelfSubjectAccessReview), so that it does not stop halfway for a missing right. The server did not answer that question. Every authenticated user may normally ask it, by the ClusterRole system:basic-user. Nothing was written."
}

/// The row of a code written as `HG0104` or `0104`, in any case.
pub fn explain(text: &str) -> Option<&'static Explanation> {
    let wanted = text.trim().to_ascii_uppercase();
    let wanted = wanted.strip_prefix("HG").unwrap_or(&wanted);
    ALL.iter().find(|row| &row.code.0[2..] == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_ascending_and_explained() {
        for pair in ALL.windows(2) {
            assert!(pair[0].code < pair[1].code, "{} before {}", pair[0].code, pair[1].code);
        }
        for row in ALL {
            assert!(row.code.0.len() == 6 && row.code.0.starts_with("HG"));
            assert!(
                row.text.len() > 40 && row.text.ends_with('.'),
                "{} needs a sentence",
                row.code
            );
        }
    }
}
