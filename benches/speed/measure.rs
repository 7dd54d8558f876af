//! Time and memory of one thing, and the table of all of them.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A line of the table.
pub struct Row {
    pub what: String,
    pub hostguard: String,
    /// The same work by another tool, as far as it has one.
    pub other: Option<String>,
    /// hostguard's share of the other's time.
    pub ratio: Option<f64>,
    pub goal: &'static str,
}

impl Row {
    /// Nobody else does it.
    pub fn ours(what: impl Into<String>, hostguard: impl Into<String>, goal: &'static str) -> Row {
        Row {
            what: what.into(),
            hostguard: hostguard.into(),
            other: None,
            ratio: None,
            goal,
        }
    }

    /// The same work by both.
    pub fn beside(what: impl Into<String>, ours: Duration, theirs: Duration, goal: &'static str) -> Row {
        Row {
            other: Some(seconds(theirs)),
            ratio: Some(ours.as_secs_f64() / theirs.as_secs_f64()),
            ..Row::ours(what, seconds(ours), goal)
        }
    }
}

pub fn table(rows: &[Row]) -> String {
    let mut out = String::from("| what | hostguard | kubectl, terraform | ratio | goal |\n|---|---|---|---|---|\n");
    for row in rows {
        let ratio = row.ratio.map(|ratio| format!("{ratio:.3}")).unwrap_or_default();
        let other = row.other.as_deref().unwrap_or_default();
        out.push_str(&format!(
            "| {} | {} | {other} | {ratio} | {} |\n",
            row.what, row.hostguard, row.goal
        ));
    }
    out
}

/// A file in that folder; its path, as an argument.
pub fn file(folder: &Path, name: &str, bytes: &[u8]) -> String {
    let path = folder.join(name);
    std::fs::write(&path, bytes).expect("a temporary folder");
    path.to_str().expect("a plain path").to_string()
}

/// The median of so many runs.
pub fn median(runs: usize, mut run: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..runs)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed()
        })
        .collect();
    times.sort();
    times[runs / 2]
}

pub fn seconds(time: Duration) -> String {
    match time.as_secs_f64() {
        time if time < 0.1 => format!("{:.1} ms", time * 1000.0),
        time => format!("{time:.2} s"),
    }
}

/// A process that ran to its end.
pub struct Ran {
    pub output: Output,
    pub took: Duration,
    /// The most memory it had resident, in MiB.
    pub peak: f64,
}

/// Runs it and watches its memory: the kernel keeps the peak, so only the very last milliseconds can be missed.
pub fn watched(mut command: Command) -> Ran {
    let start = Instant::now();
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let status = format!("/proc/{}/status", child.id());
    let waiting = std::thread::spawn(move || child.wait_with_output().expect("it ends"));
    let mut peak = 0.0;
    while !waiting.is_finished() {
        if let Some(kib) = std::fs::read_to_string(&status).ok().as_deref().and_then(high_water) {
            peak = kib / 1024.0;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let took = start.elapsed();
    Ran {
        output: waiting.join().expect("it does not panic"),
        took,
        peak,
    }
}

fn high_water(status: &str) -> Option<f64> {
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

impl Ran {
    #[track_caller]
    pub fn ended(self, codes: &[i32]) -> Ran {
        let code = self.output.status.code().unwrap_or(-1);
        let told = || {
            let text = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(3000)]).into_owned();
            format!("{}{}", text(&self.output.stdout), text(&self.output.stderr))
        };
        assert!(codes.contains(&code), "ended with {code}:\n{}", told());
        self
    }
}
