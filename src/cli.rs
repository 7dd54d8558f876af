//! The command line. Each verb's doc comment is its help text. Parses, and does nothing.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Arg, Args as ClapArgs, Parser, Subcommand, ValueEnum};

/// Protects Kubernetes hosts with Calico: shows what a plan changes, then does exactly that.
///
/// Exit codes: 0 done; 2 changes (--detailed-exitcode); 1 error; 3 an expectation, a guard or a gate failed, or
/// another owner is in the way; 4 the world moved after it was shown; 5 applied in part; 6 somebody else applies it;
/// 7 applied, and the
/// result is not what was planned; 8 refused because unsafe; 64 usage; 130 interrupted.
#[derive(Debug, Parser)]
#[command(name = "hostguard", version, max_term_width = 80)]
pub struct Cli {
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Check plans offline: syntax, references, Calico validity. Every mistake in one run.
    Check(Check),
    /// Show what a plan would change. Writes nothing, anywhere.
    Plan(Plan),
    /// Show the changes, ask, make them in order, wait for Calico, and read back.
    Apply(Apply),
    /// Show what the change of a plan does, apart from what differs anyway. Writes nothing, anywhere.
    ///
    /// Both plans are compared with the same state. An empty file, such as /dev/null, is no plan: shown is what a new plan
    /// adds, or what `destroy` takes back of one that is gone.
    Diff(DiffArgs),
    /// Render a saved change set; asks no cluster.
    Show(ShowArgs),
    /// Take back what a plan did: delete what it created, restore the values it found.
    Destroy(Destroy),
    /// List the runs of a plan that are kept: who, when, what opened and closed, and how it ended.
    History(History),
    /// Take one run back: what it found, where it still is what it wrote. A plan like any other.
    Revert(Revert),
    /// Show who can reach what: now, or once a plan is applied.
    Exposure(ExposureArgs),
    /// Walk one packet hop by hop and name what decides at each.
    Why(Why),
    /// Draw the resources of a plan: what becomes of each, in which order, and why.
    Graph(Graph),
    /// Write live state to a file that every verb takes as --live.
    Snapshot(Snapshot),
    /// Print a JSON Schema: of the plan language (for editors) or of -o json.
    Schema(Schema),
    /// Explain an error code (HG0104) or a field of the plan language (spec.nodes).
    Explain(Explain),
}

/// Which cluster.
#[derive(Clone, Debug, ClapArgs)]
#[command(next_help_heading = "Cluster")]
pub struct World {
    /// `cluster`, or a snapshot file that plays the cluster.
    #[arg(long, value_name = "cluster|FILE", default_value = "cluster")]
    pub live: String,
    /// Refuse a snapshot file that was taken longer ago: 30m, 24h, 7d, 1w; a day is 24 hours. A cluster is never old.
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    pub max_age: Option<jiff::SignedDuration>,
    /// The kubeconfig file; default: $KUBECONFIG, then ~/.kube/config, then the pod's own account.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The kubeconfig's context.
    #[arg(long)]
    pub context: Option<String>,
    /// How long one request may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub request_timeout: u64,
    /// The namespace of the inventories.
    #[arg(long, value_name = "NAMESPACE", default_value = "hostguard")]
    pub inventory_namespace: String,
    /// The region of AWS; default: the nodes', then AWS_REGION, the profile's, the one this machine is in.
    #[arg(long)]
    pub region: Option<String>,
    /// Read the firewall of AWS in front of the nodes even where no plan speaks of it.
    #[arg(long)]
    pub with_cloud: bool,
}

/// Values for the plan's inputs; the first of --set, --inputs, HOSTGUARD_INPUT_NAME, lookup, default counts.
#[derive(Debug, Default, ClapArgs)]
#[command(next_help_heading = "Inputs")]
pub struct Inputs {
    /// Give an input a value.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// A YAML file of input values; a later file wins.
    #[arg(long = "inputs", value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// A form of an answer. A verb offers those that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For machines; `hostguard schema` describes it.
    Json,
    /// A comment for a pull request.
    Markdown,
    /// Findings for code scanning (SARIF 2.1.0).
    Sarif,
    /// Promises and gates as test cases (JUnit XML).
    Junit,
    /// One page to look at, with the graph of the resources.
    Html,
}

/// Of what is shown before anybody says yes.
const DRY: &[Format] = &[
    Format::Text,
    Format::Json,
    Format::Markdown,
    Format::Sarif,
    Format::Junit,
];
/// Of what is done; it is no finding.
const DONE: &[Format] = &[Format::Text, Format::Json, Format::Markdown];
/// Of what needs nobody's yes.
const TOLD: &[Format] = &[Format::Text, Format::Json];

/// Has an option take some of the forms only.
fn one_of(forms: &[Format]) -> impl FnOnce(Arg) -> Arg {
    let words = forms.iter().filter_map(Format::to_possible_value);
    let parser = PossibleValuesParser::new(words)
        .map(|word| <Format as ValueEnum>::from_str(&word, false).expect("it was one of the words"));
    |format| format.value_parser(parser)
}

/// A form of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Drawn {
    /// For Markdown on GitHub and GitLab.
    Mermaid,
    /// For graphviz.
    Dot,
    /// A picture.
    Svg,
}

#[derive(Debug, ClapArgs)]
pub struct Output {
    /// The form of the answer.
    #[arg(short = 'o', long = "output", value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

#[derive(Debug, ClapArgs)]
#[command(mut_arg("format", one_of(&[Format::Text, Format::Json, Format::Sarif, Format::Junit])))]
pub struct Check {
    /// Plan files; `-` is standard input.
    #[arg(required = true, value_name = "PLAN")]
    pub plans: Vec<String>,
    #[command(flatten)]
    pub inputs: Inputs,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Debug, ClapArgs)]
#[command(mut_arg("format", one_of(DRY)))]
pub struct Plan {
    #[command(flatten)]
    pub proposal: Proposal,
    /// Exit with 2 when there are changes.
    #[arg(long)]
    pub detailed_exitcode: bool,
    /// Save the change set: `show FILE` renders it, `apply FILE` does exactly it.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// How long the saved change set may be applied: 30m, 24h, 7d, 1w; a day is 24 hours.
    #[arg(long, value_name = "TIME", requires = "out", value_parser = lifetime)]
    pub expires: Option<jiff::SignedDuration>,
}

/// Two plans against one world.
#[derive(Debug, ClapArgs)]
#[command(mut_arg("format", one_of(DONE)))]
pub struct DiffArgs {
    /// The plan as it was; `-` is standard input, an empty file no plan.
    #[arg(value_name = "BASE")]
    pub base: String,
    /// The plan as it is to be. Whether it may be applied is for `plan` to say.
    #[arg(value_name = "HEAD")]
    pub head: String,
    #[command(flatten)]
    pub inputs: Inputs,
    #[command(flatten)]
    pub world: World,
    #[command(flatten)]
    pub output: Output,
    #[command(flatten)]
    pub risk: Risk,
    /// Exit with 2 when there is a difference.
    #[arg(long)]
    pub detailed_exitcode: bool,
}

/// A day is 24 hours, whatever the calendar makes of it; months and years are as long as they like, and no lifetime.
fn lifetime(text: &str) -> Result<jiff::SignedDuration, String> {
    let not = |_| "expected a time such as 24h, 7d or 1d12h".to_string();
    let span: jiff::Span = text.parse().map_err(not)?;
    let time = span
        .to_duration(jiff::SpanRelativeTo::days_are_24_hours())
        .map_err(not)?;
    if time.is_positive() {
        Ok(time)
    } else {
        Err("expected more than nothing".to_string())
    }
}

/// A plan against a world.
#[derive(Debug, ClapArgs)]
pub struct Proposal {
    /// The plan file; `-` is standard input.
    #[arg(value_name = "PLAN")]
    pub plan: String,
    #[command(flatten)]
    pub inputs: Inputs,
    #[command(flatten)]
    pub world: World,
    #[command(flatten)]
    pub output: Output,
    /// Take over a field that another applier manages; written as the conflict prints it.
    #[arg(long, value_name = "KEY:FIELD")]
    pub force_conflicts: Vec<String>,
    #[command(flatten)]
    pub risk: Risk,
}

/// What is accepted although it is worse on the way.
#[derive(Debug, Default, ClapArgs)]
pub struct Risk {
    /// Accept that one packet fares worse at one step, as the refusal names them; `apply` writes it into the record.
    #[arg(long = "accept", value_name = "STEP=PACKET", value_parser = acceptance)]
    pub accepted: Vec<(String, String)>,
}

fn acceptance(text: &str) -> Result<(String, String), String> {
    let parts = text
        .split_once('=')
        .filter(|(step, packet)| !step.is_empty() && !packet.is_empty());
    let (step, packet) = parts.ok_or_else(|| "expected STEP=PACKET, as a refusal prints it".to_string())?;
    Ok((step.to_string(), packet.to_string()))
}

#[derive(Debug, ClapArgs)]
pub struct Doing {
    /// Do not ask.
    #[arg(short = 'y', long)]
    pub yes: bool,
    /// How long to wait for Calico's controllers.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub wait: u64,
    /// How long Felix gets to bring the kernel up to date before a step relies on it; a snapshot file needs none.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=3600))]
    pub settle: u64,
    /// How long to wait while somebody else applies this plan.
    #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=86_400))]
    pub lock_timeout: u64,
    /// What becomes of what was done when a step fails.
    #[arg(long, value_enum, default_value_t = OnFailure::Keep)]
    pub on_failure: OnFailure,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnFailure {
    /// It stays, and the next apply goes on from there.
    Keep,
    /// It is taken back, in an order that is proven like any other.
    Revert,
}

#[derive(Debug, ClapArgs)]
#[command(mut_arg("format", one_of(DONE)))]
pub struct Apply {
    /// PLAN may also be a change set that `plan --out` saved.
    #[command(flatten)]
    pub proposal: Proposal,
    #[command(flatten)]
    pub doing: Doing,
    /// Allow exactly this many deletions, when there are more than 5.
    #[arg(long, value_name = "N")]
    pub allow_delete: Option<usize>,
    /// Apply the change set with this id, as `plan` printed it, or nothing (exit 4).
    #[arg(long, value_name = "ID", value_parser = id)]
    pub expect_id: Option<String>,
}

fn id(text: &str) -> Result<String, String> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    if digits.len() == 32 && digits.chars().all(|c| c.is_ascii_hexdigit()) {
        Ok(format!("sha256:{}", digits.to_ascii_lowercase()))
    } else {
        Err("expected the whole id: sha256: and 32 hexadecimal digits".to_string())
    }
}

#[derive(Debug, ClapArgs)]
#[command(mut_arg("format", one_of(DONE)))]
pub struct Destroy {
    /// The plan file; only its name and its cluster are read.
    #[arg(value_name = "PLAN", required_unless_present = "name")]
    pub plan: Option<String>,
    /// The plan's name, when the file is not at hand.
    #[arg(long, value_name = "NAME", conflicts_with = "plan")]
    pub name: Option<String>,
    #[command(flatten)]
    pub world: World,
    #[command(flatten)]
    pub output: Output,
    #[command(flatten)]
    pub doing: Doing,
    #[command(flatten)]
    pub risk: Risk,
    /// Show what would be taken back, and do nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// Which plan.
#[derive(Debug, ClapArgs)]
pub struct Named {
    /// The plan file; only its name is read.
    #[arg(value_name = "PLAN", required_unless_present = "name")]
    pub plan: Option<String>,
    /// The plan's name, when the file is not at hand.
    #[arg(long, value_name = "NAME", conflicts_with = "plan")]
    pub name: Option<String>,
}

#[derive(Debug, ClapArgs)]
#[command(mut_arg("format", one_of(TOLD)))]
pub struct History {
    #[command(flatten)]
    pub plan: Named,
    #[command(flatten)]
    pub world: World,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Debug, ClapArgs)]
#[command(mut_arg("format", one_of(DONE)))]
pub struct Revert {
    /// The run: its number, or the id of its change set.
    #[arg(value_name = "RUN")]
    pub run: String,
    #[command(flatten)]
    pub plan: Named,
    #[command(flatten)]
    pub world: World,
    #[command(flatten)]
    pub output: Output,
    #[command(flatten)]
    pub doing: Doing,
    #[command(flatten)]
    pub risk: Risk,
    /// Show what would be taken back, and do nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Allow exactly this many deletions, when there are more than 5.
    #[arg(long, value_name = "N")]
    pub allow_delete: Option<usize>,
}

#[derive(Debug, ClapArgs)]
#[command(mut_arg("format", one_of(DRY)))]
pub struct ShowArgs {
    /// What `plan --out` saved.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    #[command(flatten)]
    pub output: Output,
}

/// Which state is looked at.
#[derive(Debug, ClapArgs)]
pub struct Looked {
    /// A plan: the state that it leads to is looked at; without one, the live state.
    #[arg(long, value_name = "PLAN")]
    pub after: Option<String>,
    #[command(flatten)]
    pub inputs: Inputs,
    #[command(flatten)]
    pub world: World,
}

#[derive(Debug, ClapArgs)]
#[command(mut_arg("format", one_of(&[Format::Text, Format::Json, Format::Markdown, Format::Html])))]
pub struct ExposureArgs {
    #[command(flatten)]
    pub looked: Looked,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Debug, ClapArgs)]
#[command(mut_arg("format", one_of(TOLD)))]
pub struct Why {
    /// The source: an address, node/NAME or pod/NAMESPACE/NAME.
    #[arg(value_name = "FROM")]
    pub from: String,
    /// The target: the same with :PORT/PROTOCOL behind it, such as node/NAME:30080/tcp.
    #[arg(value_name = "TO")]
    pub to: String,
    /// The plan that is looked at as if applied; the same as --after PLAN.
    #[arg(value_name = "PLAN", conflicts_with = "after")]
    pub plan: Option<String>,
    #[command(flatten)]
    pub looked: Looked,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Debug, ClapArgs)]
pub struct Graph {
    /// The plan file; `-` is standard input.
    #[arg(value_name = "PLAN")]
    pub plan: String,
    #[command(flatten)]
    pub inputs: Inputs,
    #[command(flatten)]
    pub world: World,
    /// The form of the graph.
    #[arg(short = 'o', long = "output", value_name = "FORMAT", value_enum, default_value_t = Drawn::Mermaid)]
    pub output: Drawn,
}

#[derive(Debug, ClapArgs)]
pub struct Snapshot {
    /// Where to write; `-` is standard output.
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub out: String,
    #[command(flatten)]
    pub world: World,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SchemaOf {
    /// The plan language.
    Plan,
    /// The answer of `plan -o json`, `apply -o json` and `destroy -o json`.
    Answer,
    /// The answer of `exposure -o json`.
    Exposure,
    /// The answer of `why -o json`.
    Why,
    /// The answer of `check -o json`.
    Check,
    /// The answer of `history -o json`.
    History,
    /// The answer of `diff -o json`.
    Diff,
    /// What `plan --out` saves.
    ChangeSet,
}

#[derive(Debug, ClapArgs)]
pub struct Schema {
    #[arg(value_enum, default_value_t = SchemaOf::Plan)]
    pub of: SchemaOf,
}

#[derive(Debug, ClapArgs)]
pub struct Explain {
    /// A code (HG0104) or a field (spec.nodes); nothing lists both.
    pub what: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_is_any_number_of_weeks_days_hours_minutes_and_seconds() {
        let hours = |text: &str| lifetime(text).map(|time| time.as_secs_f64() / 3600.0);
        for (text, expected) in [
            ("168h", 168.0),
            ("7d", 168.0),
            ("1w", 168.0),
            ("2 weeks", 336.0),
            ("1d12h", 36.0),
            ("1w 1d 30m", 192.5),
            ("90m", 1.5),
            ("3600s", 1.0),
            ("PT24H", 24.0),
            ("P7D", 168.0),
        ] {
            assert_eq!(hours(text), Ok(expected), "{text}");
        }
        let not = Err("expected a time such as 24h, 7d or 1d12h".to_string());
        for text in ["", "7", "7 dogs", "soon", "1mo", "1y", "99999999999w"] {
            assert_eq!(hours(text), not, "{text}");
        }
        for text in ["0d", "-7d", "7d ago"] {
            assert_eq!(hours(text), Err("expected more than nothing".to_string()), "{text}");
        }
    }
}
