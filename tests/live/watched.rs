//! Planning a stranger's plan, watched from outside: strace writes down every system call of `hostguard … --live FILE`,
//! and each must be one of those named here.
//!
//! What is not named is refused, so a new call has to be looked at before it passes. No socket is made but tokio's own
//! pair, nothing is started, nothing is written but the standard streams, and no file is opened but the plan, the
//! snapshot, the binary's libraries and what the kernel tells a process of itself.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::live::asked_for;

/// Calls that reach nothing outside of the process.
const INNER: &[&str] = &[
    "brk",
    "mmap",
    "munmap",
    "mprotect",
    "mremap",
    "madvise",
    "arch_prctl",
    "set_tid_address",
    "set_robust_list",
    "rseq",
    "prlimit64",
    "getrandom",
    "rt_sigaction",
    "rt_sigprocmask",
    "sigaltstack",
    "sched_getaffinity",
    "gettid",
    "getpid",
    "futex",
    "poll",
    "ppoll",
    "epoll_create1",
    "epoll_ctl",
    "epoll_wait",
    "epoll_pwait",
    "eventfd2",
    "fcntl",
    "close",
    "clock_gettime",
    "exit_group",
    "exit",
    "getcwd",
];

/// Calls about a file that is open already, to read it.
const READING: &[&str] = &["read", "pread64", "readv", "lseek", "fstat"];

/// Calls that name a file and do not write it.
const NAMING: &[&str] = &[
    "openat",
    "open",
    "newfstatat",
    "statx",
    "stat",
    "lstat",
    "access",
    "faccessat",
    "readlink",
    "readlinkat",
];

/// What a process may look at beside what it was told to: libraries, and what the kernel says of the process itself.
const RUNTIME: &[&str] = &[
    "/etc/ld.so.cache",
    "/etc/ld.so.preload",
    "/lib/",
    "/lib64/",
    "/usr/lib/",
    "/usr/lib64/",
    "/proc/self/",
    "/sys/fs/cgroup/",
];

/// Why this call is none of those allowed; `told`: files from the command line.
fn wrong(call: &str, told: &[&str], started: &mut usize) -> Option<String> {
    let (name, rest) = call.split_once('(')?;
    let texts: Vec<&str> = rest.split('"').skip(1).step_by(2).collect();
    let refused = |why: &str| Some(format!("{why}: {call}"));
    match name {
        name if INNER.contains(&name) || READING.contains(&name) => None,
        "execve" => {
            *started += 1;
            (*started > 1).then(|| format!("starts something: {call}"))
        }
        // a thread; another process would have to be looked at
        "clone3" | "clone" if rest.contains("CLONE_THREAD") => None,
        // whether a standard stream is a terminal, and how wide
        "ioctl" if rest.contains(", TCGETS") || rest.contains(", TIOCGWINSZ") => None,
        "socketpair" if rest.starts_with("AF_UNIX") => None, // tokio wakes itself by it
        "write" | "writev" if rest.starts_with("1,") || rest.starts_with("2,") => None,
        name if NAMING.contains(&name) => {
            let file = texts.first().copied().unwrap_or_default();
            let opens = name.starts_with("open");
            if opens
                && ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_APPEND"]
                    .iter()
                    .any(|flag| rest.contains(flag))
            {
                return refused("opens to write");
            }
            let named = file.is_empty() // of a file that is open
                || told.iter().any(|told| file == *told || file.ends_with(&format!("/{told}")))
                || RUNTIME.iter().any(|path| file == *path || path.ends_with('/') && file.starts_with(path) && !file.contains("/../"));
            if named {
                None
            } else {
                refused("looks at a file that nobody named")
            }
        }
        _ => refused("is not known to be harmless"),
    }
}

/// The calls of a log of `strace -f`, without process ids, signals and endings.
fn calls(log: &str) -> Vec<String> {
    let lines = log.lines().filter_map(|line| {
        let line = line.trim_start();
        let (id, rest) = line.split_once(' ')?;
        let call = if id.chars().all(|c| c.is_ascii_digit()) {
            rest.trim_start()
        } else {
            line
        };
        (!call.starts_with("+++") && !call.starts_with("---") && !call.starts_with("<...")).then(|| call.to_string())
    });
    lines.collect()
}

/// Secrets that a job could have around it, and places to be sent to.
const AROUND: &[(&str, &str)] = &[
    ("GITHUB_TOKEN", "hunter2"),
    ("AWS_SECRET_ACCESS_KEY", "hunter2"),
    ("AWS_ACCESS_KEY_ID", "hunter2"),
    ("AWS_PROFILE", "hunter2"),
    ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
    ("HTTPS_PROXY", "http://hunter2@127.0.0.1:9"),
    ("HTTP_PROXY", "http://127.0.0.1:9"),
    ("ALL_PROXY", "socks5://127.0.0.1:9"),
    ("https_proxy", "http://127.0.0.1:9"),
    ("KUBECONFIG", "kubeconfig"),
    ("KUBERNETES_SERVICE_HOST", "127.0.0.1"),
    ("KUBERNETES_SERVICE_PORT", "9"),
    ("SSL_CERT_FILE", "secret"),
    ("AWS_CA_BUNDLE", "secret"),
    ("NETRC", "secret"),
    ("RUST_LOG", "trace"),
    ("TZ", ":secret"),
    ("LANG", "de_DE.UTF-8"),
    ("PAGER", "touch paged"),
    ("EDITOR", "touch edited"),
];

/// Runs the binary under watch; what it must not have done, and what it printed.
fn watched(folder: &Path, args: &[&str], around: &[(&str, &str)]) -> (Vec<String>, String) {
    let log = folder.join("calls.log");
    let mut command = Command::new("strace");
    command
        .args(["-f", "-qq", "-s", "4096", "-o"])
        .arg(&log)
        .arg(env!("CARGO_BIN_EXE_hostguard"))
        .args(args)
        .current_dir(folder)
        .env_clear()
        .envs(around.iter().copied())
        .env("HOME", folder)
        .stdin(Stdio::null());
    let ran = command.output().expect("strace is there: make test installs it");
    let text = std::fs::read_to_string(&log).expect("strace writes its log; it needs the right to trace (ptrace)");
    std::fs::remove_file(&log).expect("it is there");
    let calls = calls(&text);
    assert!(calls.len() > 40, "{args:?}: {text}");
    let told: Vec<&str> = args
        .iter()
        .copied()
        .filter(|arg| arg.contains('.') && !arg.starts_with('-'))
        .collect();
    let mut started = 0;
    let wrong = calls
        .iter()
        .filter_map(|call| wrong(call, &told, &mut started))
        .collect();
    assert!(started >= 1, "{args:?}: the binary itself");
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&ran.stdout),
        String::from_utf8_lossy(&ran.stderr)
    );
    (wrong, said)
}

const HEAD: &str = "apiVersion: hostguard.dev/v1alpha1\nkind: HostProtection\nmetadata: { name: stranger }\nspec:\n  cluster: { platform: eks }\n";

/// Plans that want what a plan has no words for, each with what the answer says.
fn strangers() -> Vec<(&'static str, String, &'static str)> {
    let body = |text: &str| format!("{HEAD}{text}");
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..10 {
        bomb.push_str(&format!(
            "a{i}: &a{i} [{}]\n",
            vec![format!("*a{}", i - 1); 10].join(", ")
        ));
    }
    let words = [
        "../../../../etc/passwd",
        "file:///etc/passwd",
        "/etc/shadow",
        "http://169.254.169.254/latest/meta-data/",
        "$(touch made)",
        "`touch made`",
        "%HOME%",
        "{{ env \\\"GITHUB_TOKEN\\\" }}",
        "%GITHUB_TOKEN%",
        "<%= `id` %>",
        "!!python/object/apply:os.system [touch made]",
        "arn:aws:s3:::bucket",
        "jndi:ldap://127.0.0.1/x",
        "@/etc/passwd",
    ];
    let rules = words.iter().enumerate().map(|(i, word)| {
        format!("      r{i}: {{ expression: \"answer.plan == ''\", message: \"{word}\", level: note }}\n")
    });
    let rules: String = rules.collect();
    let valid = format!(
        "{HEAD}  inputs:\n    home: {{ type: string, default: \"/etc/passwd\", description: \"$(touch made)\" }}\n    trusted: {{ type: cidr, default: 203.0.113.7/32 }}\n  nodes:\n    guarded: {{ names: [ip-10-0-1-5], labels: {{ file: \"secret\" }} }}\n  tiers: {{ guarding: {{ order: 700 }} }}\n  networkSets: {{ partners: {{ labels: {{ role: partner }}, nets: [\"${{trusted}}\"] }} }}\n  gates:\n    levels: {{ HG0533: note }}\n    rules:\n{rules}"
    );
    vec![
        ("words with meanings elsewhere", valid, "stranger"),
        (
            "a tag that runs code",
            body("  tiers: !!python/object/apply:os.system [\"touch made\"]\n"),
            "HG0004",
        ),
        ("a tag that includes", body("  tiers: !include /etc/passwd\n"), "HG0004"),
        ("a merge of a file", body("  <<: /etc/passwd\n"), "HG0005"),
        ("an alias bomb", bomb, "HG0008"),
        (
            "a bottomless list",
            format!("{HEAD}  tiers: {}", "[".repeat(100_000)),
            "HG0009",
        ),
        (
            "an environment variable",
            body("  tiers: { \"${GITHUB_TOKEN}\": { order: 1 } }\n"),
            "HG0214",
        ),
        (
            "an input of the environment",
            body("  inputs: { token: { type: string } }\n  tiers: { guarding: { order: 1 } }\n"),
            "HG0210",
        ),
        (
            "the address of this machine",
            body(
                "  inputs: { me: { type: ip, lookup: { from: imds/public-ipv4 } } }\n  networkSets: { s: { nets: [\"${me}\"] } }\n",
            ),
            "HG",
        ),
        (
            "an instance of the cloud",
            body(
                "  inputs: { it: { type: ip, lookup: { from: aws/instance, instance: i-0123456789abcdef0 } } }\n  networkSets: { s: { nets: [\"${it}\"] } }\n",
            ),
            "HG",
        ),
        (
            "a firewall of the cloud",
            body(
                "  nodes: { g: { names: [ip-10-0-1-5], labels: { a: b } } }\n  cloud: [{ allow: { to: g, ports: [tcp/80], from: [0.0.0.0/0] } }]\n",
            ),
            "HG",
        ),
        (
            "a schema by address",
            format!(
                "# yaml-language-server: $schema=http://127.0.0.1:9/x\n{}",
                body("  tiers: { guarding: { order: 1 } }\n")
            ),
            "stranger",
        ),
        ("no text", "\u{0}\u{1}".into(), "HG0003"),
    ]
}

#[test]
fn a_strangers_plan_opens_nothing_starts_nothing_writes_nothing() {
    let Some(_) = asked_for("live::watched::a_strangers_plan_opens_nothing_starts_nothing_writes_nothing::here") else {
        return;
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::copy(root.join("examples/eks.json"), folder.join("live.json")).expect("the snapshot");
    for (file, text) in [
        ("secret", "hunter2"),
        (
            "kubeconfig",
            "users: [{name: hunter2, user: {exec: {command: touch, args: [made]}}}]",
        ),
        (".netrc", "machine x password hunter2"),
        ("base.yaml", &format!("{HEAD}  tiers: {{ guarding: {{ order: 1 }} }}\n")),
    ] {
        std::fs::write(folder.join(file), text).expect("a temporary folder");
    }
    std::fs::create_dir(folder.join(".kube")).expect("a temporary folder");
    std::fs::write(folder.join(".kube/config"), "hunter2").expect("a temporary folder");
    let listed = || {
        let entries = std::fs::read_dir(folder)
            .expect("the folder")
            .map(|entry| entry.expect("an entry").path());
        let mut all: Vec<_> = entries
            .map(|path| (std::fs::read(&path).unwrap_or_default(), path))
            .collect();
        all.sort();
        all
    };
    for (what, plan, says) in strangers() {
        std::fs::write(folder.join("plan.yaml"), plan).expect("a temporary folder");
        let before = listed();
        let commands: [&[&str]; 6] = [
            &["plan", "plan.yaml", "--live", "live.json", "-o", "markdown"],
            &[
                "plan",
                "plan.yaml",
                "--live",
                "live.json",
                "--max-age",
                "999999h",
                "-o",
                "sarif",
            ],
            &[
                "diff",
                "base.yaml",
                "plan.yaml",
                "--live",
                "live.json",
                "-o",
                "markdown",
            ],
            &["exposure", "--after", "plan.yaml", "--live", "live.json"],
            &[
                "why",
                "198.51.100.7",
                "node/ip-10-0-1-5:30080/tcp",
                "plan.yaml",
                "--live",
                "live.json",
            ],
            &["check", "plan.yaml"],
        ];
        for (nth, command) in commands.iter().enumerate() {
            let (wrong, said) = watched(folder, command, AROUND);
            assert!(wrong.is_empty(), "{what}, {command:?}:\n{}\n{said}", wrong.join("\n"));
            assert!(!said.contains("hunter2"), "{what}, {command:?}: {said}");
            assert!(!said.contains("root:"), "{what}, {command:?}: {said}");
            if nth == 0 {
                assert!(said.contains(says), "{what}: `{says}` is not in {said}");
            }
        }
        assert_eq!(listed(), before, "{what}: nothing was written");
    }
}

/// The watch sees what it is there for: the same binary, asked to do such things.
#[test]
fn the_watch_is_not_blind() {
    let Some(_) = asked_for("live::watched::the_watch_is_not_blind::here") else {
        return;
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::copy(root.join("examples/eks.json"), folder.join("live.json")).expect("the snapshot");
    let plan = format!("{HEAD}  tiers: {{ guarding: {{ order: 1 }} }}\n");
    std::fs::write(folder.join("plan.yaml"), plan).expect("a temporary folder");
    let kubeconfig = |user: &str| {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\nclusters: [{{name: c, cluster: {{server: 'https://127.0.0.1:9', insecure-skip-tls-verify: true}}}}]\nusers: [{{name: u, user: {user}}}]\n"
        )
    };
    let sees = |args: &[&str], what: &str| {
        let (wrong, said) = watched(folder, args, &[("KUBECONFIG", "kubeconfig")]);
        assert!(
            wrong.iter().any(|call| call.starts_with(what)),
            "{args:?} {wrong:#?}\n{said}"
        );
    };
    std::fs::write(folder.join("kubeconfig"), kubeconfig("{token: x}")).expect("a temporary folder");
    sees(
        &["plan", "plan.yaml"],
        "looks at a file that nobody named: openat(AT_FDCWD, \"kubeconfig\"",
    );
    sees(&["plan", "plan.yaml"], "is not known to be harmless: socket(AF_INET");
    let plugin =
        "{exec: {apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: touch, args: [made]}}";
    std::fs::write(folder.join("kubeconfig"), kubeconfig(plugin)).expect("a temporary folder");
    sees(&["plan", "plan.yaml"], "starts something: execve(");
    sees(
        &["plan", "plan.yaml", "--live", "live.json", "--out", "set.json"],
        "opens to write",
    );
    for (call, what) in [
        ("openat(AT_FDCWD, \"/etc/passwd\", O_RDONLY|O_CLOEXEC) = 3", "looks at"),
        (
            "openat(AT_FDCWD, \"/usr/lib/../../etc/passwd\", O_RDONLY) = 3",
            "looks at",
        ),
        ("openat(AT_FDCWD, \"plan.yaml\", O_RDWR) = 3", "opens to write"),
        (
            "clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|SIGCHLD) = 9",
            "is not known",
        ),
        ("vfork() = 9", "is not known"),
        ("unlink(\"plan.yaml\") = 0", "is not known"),
        ("connect(3, {sa_family=AF_INET}, 16) = 0", "is not known"),
        ("write(5, \"x\", 1) = 1", "is not known"),
        ("socketpair(AF_INET, SOCK_STREAM, 0, [6, 7]) = 0", "is not known"),
    ] {
        let why = wrong(call, &["plan.yaml"], &mut 1);
        assert!(why.is_some_and(|why| why.starts_with(what)), "{call}");
    }
}
