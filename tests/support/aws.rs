//! EC2, EKS and IAM for one test binary: the strict emulator, a proxy with faults before it, and boto3 beside them.
//!
//! `tests/aws` installs them; `HOSTGUARD_AWS` names the directory. A test starts with
//! `let Some(aws) = aws!() else { return };`. Not asked for, it says that it did not run; asked for, what cannot start
//! fails it. One test at a time; each begins with an empty account. What is asserted is read by boto3, past the proxy.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use hostguard::provider::aws::{Aws, Connect};
use hostguard::provider::http::Given;
use serde_json::{Value, json};

use super::live::not_run;

pub const REGION: &str = "us-east-2";

/// An empty account, named after the test that asks.
macro_rules! aws {
    () => {{
        fn here() {}
        $crate::support::aws::turn(std::any::type_name_of_val(&here))
    }};
}
pub(crate) use aws;

/// A process of the emulation.
struct Part {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    port: u16,
}

impl Part {
    fn start(venv: &Path, args: &[&str]) -> Part {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/aws/emulator.py");
        let mut child = Command::new(venv.join("bin/python"))
            .arg(script)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("HOSTGUARD_AWS={}: {e}; tests/aws/build.sh makes it", venv.display()));
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut part = Part {
            child,
            stdin,
            stdout,
            port: 0,
        };
        loop {
            let line = part.line();
            assert!(!line.is_empty(), "the emulator {args:?} ended instead of starting");
            if let Some(port) = line.strip_prefix("ready ") {
                part.port = port.trim().parse().expect("a port");
                return part;
            }
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("the emulator speaks UTF-8");
        line
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.child.kill(); // it may have ended with its standard input
        let _ = self.child.wait();
    }
}

/// An emulator with a proxy and a reader.
pub struct Emulator {
    moto: Part,
    /// A proxy changes the host, which is signed: who checks signatures is asked directly.
    direct: bool,
    faults: Part,
    reader: Mutex<Part>,
}

/// A test's turn with the shared one.
pub struct Turn {
    emulator: Arc<Emulator>,
    _alone: MutexGuard<'static, ()>,
}

static SHARED: Mutex<Weak<Emulator>> = Mutex::new(Weak::new());
static ALONE: Mutex<()> = Mutex::new(());

/// The virtual environment.
pub fn venv() -> Option<PathBuf> {
    std::env::var_os("HOSTGUARD_AWS").map(PathBuf::from)
}

pub fn turn(here: &str) -> Option<Turn> {
    let test = here.trim_start_matches("live::").trim_end_matches("::here");
    let Some(venv) = venv() else {
        not_run(test, "needs the AWS emulators: make test");
        return None;
    };
    let emulator = {
        let mut slot = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        slot.upgrade().unwrap_or_else(|| {
            let emulator = Arc::new(Emulator::start(&venv));
            *slot = Arc::downgrade(&emulator);
            emulator
        })
    };
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    emulator.reset();
    Some(Turn {
        emulator,
        _alone: alone,
    })
}

/// One of its own, without faults, that checks signatures and IAM policies once `enforce` is called.
pub fn enforcing(here: &str) -> Option<Emulator> {
    let Some(venv) = venv() else {
        not_run(here, "needs the AWS emulators: make test");
        return None;
    };
    let mut emulator = Emulator::start(&venv);
    emulator.direct = true;
    Some(emulator)
}

impl std::ops::Deref for Turn {
    type Target = Emulator;

    fn deref(&self) -> &Emulator {
        &self.emulator
    }
}

impl Emulator {
    fn start(venv: &Path) -> Emulator {
        let moto = Part::start(venv, &["moto"]);
        let faults = Part::start(venv, &["faults", &moto.url()]);
        let reader = Mutex::new(Part::start(venv, &["boto", &moto.url()]));
        Emulator {
            moto,
            direct: false,
            faults,
            reader,
        }
    }

    fn reset(&self) {
        self.control(&self.moto.url(), "POST", "/moto-api/reset", "");
        self.control(&self.moto.url(), "POST", "/moto-api/seed?a=42", "");
        self.faults(json!([]));
    }

    fn control(&self, base: &str, method: &str, path: &str, body: &str) -> Value {
        let script = "\
import requests
r = requests.request(method, url, data=body, headers={'Content-Type': kind})
r.raise_for_status()
out = r.json() if r.text.startswith(('{', '[')) else r.text";
        let kind = if body.starts_with('[') {
            "application/json"
        } else {
            "text/plain"
        };
        let given = json!({"method": method, "url": format!("{base}{path}"), "body": body, "kind": kind});
        self.python_with(&given, script)
    }

    /// Runs a script that leaves its answer in `out`; `ec2`, `eks`, `iam` are clients, `client(service, key, secret)`
    /// makes others.
    pub fn python(&self, script: &str) -> Value {
        self.python_with(&json!({}), script)
    }

    /// The same, with some names given.
    pub fn python_with(&self, given: &Value, script: &str) -> Value {
        let mut lines = String::new();
        for (name, value) in given.as_object().expect("names") {
            let text = Value::String(value.to_string()).to_string();
            lines.push_str(&format!("{name} = json.loads({text})\n"));
        }
        let script = Value::String(lines + script).to_string();
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let stdin = reader.stdin.as_mut().expect("open until it is dropped");
        writeln!(stdin, "{script}").expect("the reader reads");
        let answer: Value = serde_json::from_str(&reader.line()).expect("the reader answers with JSON");
        drop(reader);
        assert!(
            answer["error"].is_null(),
            "{}",
            answer["error"].as_str().unwrap_or_default()
        );
        answer["out"].clone()
    }

    /// What the proxy does from now on.
    pub fn faults(&self, rules: Value) {
        self.control(&self.faults.url(), "POST", "/_microburst/rules", &rules.to_string());
        self.control(&self.faults.url(), "DELETE", "/_microburst/fired", "");
    }

    /// How often it has done something since.
    pub fn fired(&self) -> usize {
        let fired = self.control(&self.faults.url(), "GET", "/_microburst/fired", "");
        let list = if fired.is_array() { &fired } else { &fired["fired"] };
        list.as_array().expect("a list of what was done").len()
    }

    /// Signatures and IAM policies are checked from now on.
    pub fn enforce(&self) {
        self.control(&self.moto.url(), "POST", "/moto-api/reset-auth", "0");
    }

    /// Where the product asks.
    pub fn endpoint(&self) -> String {
        if self.direct {
            self.moto.url()
        } else {
            self.faults.url()
        }
    }

    /// A provider with this account, at most `page` objects a page.
    pub fn provider(&self, page: usize, (key, secret): (&str, &str)) -> Aws {
        let credentials = Credentials::new(key, secret, None, None, "test");
        let account = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(REGION))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .endpoint_url(self.endpoint())
            .build();
        let connect = Connect {
            region: None,
            request_timeout: Duration::from_secs(10),
            page,
            given: Given {
                now: jiff::Timestamp::now,
                jitter: || 0.5,
            },
        };
        Aws::of_account(connect, account)
    }
}
