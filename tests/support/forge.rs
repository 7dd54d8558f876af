//! Plays the comments and issues of a forge, GitHub's or GitLab's REST API, as strictly as their documentation says:
//! tokens and what they may do, pages with Link headers, the length of a text, unknown paths. It is a player, not a forge:
//! what the documentation does not say is not shown by it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    GitHub,
    GitLab,
}

/// Who may comment and edit, and whose it then is.
pub const TOKEN: &str = "token-of-the-trusted-job";
/// What a pull request from a fork gets.
pub const FORK_TOKEN: &str = "token-of-a-fork";
pub const GITHUB_BOT: &str = "github-actions[bot]";
pub const GITLAB_BOT: &str = "project_1_bot";

/// A request as the forge saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub method: String,
    pub path: String,
}

#[derive(Default)]
struct Held {
    next: u64,
    /// Comments by the number of the request.
    comments: BTreeMap<u64, Vec<Value>>,
    issues: Vec<Value>,
    /// What made a commit, as the forge lists it.
    merged: BTreeMap<String, Value>,
    open: Vec<Value>,
    asked: Vec<Asked>,
    /// Statuses to answer with before anything else.
    failing: Vec<u16>,
    /// The same for what writes.
    failing_writes: Vec<u16>,
}

/// Ends with the process; every thread of it waits for a client.
pub struct Forge {
    pub kind: Kind,
    pub url: String,
    held: Arc<Mutex<Held>>,
}

impl Forge {
    pub fn start(kind: Kind) -> Forge {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let held = Arc::new(Mutex::new(Held {
            next: 100,
            ..Held::default()
        }));
        let (shared, own) = (held.clone(), url.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (held, own) = (shared.clone(), own.clone());
                std::thread::spawn(move || serve(kind, &own, client, &held));
            }
        });
        Forge { kind, url, held }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request, with what others have said on it.
    pub fn request(&self, number: u64, said: &[(&str, &str)]) {
        let mut held = self.held();
        held.comments.entry(number).or_default();
        for (who, body) in said {
            let id = held.next;
            held.next += 1;
            let comment = comment(self.kind, id, who, body);
            held.comments.entry(number).or_default().push(comment);
        }
    }

    /// The request was merged as this commit.
    pub fn merge(&self, number: u64, commit: &str) {
        let merged = match self.kind {
            Kind::GitHub => json!({"number": number, "merged_at": "2026-11-28T12:00:00Z", "merge_commit_sha": commit}),
            Kind::GitLab => {
                json!({"iid": number, "state": "merged", "merge_commit_sha": commit, "squash_commit_sha": null, "sha": "0"})
            }
        };
        self.held().merged.insert(commit.to_string(), merged);
    }

    /// An open merge request.
    pub fn open(&self, number: u64, head: &str) {
        self.request(number, &[]);
        let request = json!({"iid": number, "sha": head, "state": "opened", "target_branch": "main"});
        let mut held = self.held();
        held.open.retain(|other| other["iid"] != number);
        held.open.push(request);
    }

    /// Answers the next requests so.
    pub fn fail(&self, statuses: &[u16]) {
        self.held().failing = statuses.to_vec();
    }

    /// Answers the next requests that write so.
    pub fn fail_writes(&self, statuses: &[u16]) {
        self.held().failing_writes = statuses.to_vec();
    }

    /// What is said on a request: who, and what.
    pub fn said(&self, number: u64) -> Vec<(String, String)> {
        let held = self.held();
        let all = held.comments.get(&number).into_iter().flatten();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
        all.map(|comment| (text(&comment[self.author()][self.name()]), text(&comment["body"])))
            .collect()
    }

    fn author(&self) -> &'static str {
        author(self.kind)
    }

    fn name(&self) -> &'static str {
        name(self.kind)
    }

    pub fn issues(&self) -> Vec<Value> {
        self.held().issues.clone()
    }

    /// What was asked since the last time.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.held().asked)
    }
}

fn author(kind: Kind) -> &'static str {
    match kind {
        Kind::GitHub => "user",
        Kind::GitLab => "author",
    }
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::GitHub => "login",
        Kind::GitLab => "username",
    }
}

fn bot(kind: Kind) -> &'static str {
    match kind {
        Kind::GitHub => GITHUB_BOT,
        Kind::GitLab => GITLAB_BOT,
    }
}

fn comment(kind: Kind, id: u64, who: &str, body: &str) -> Value {
    json!({"id": id, author(kind): {name(kind): who}, "body": body})
}

struct Question {
    method: String,
    path: String,
    query: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

struct Answer {
    status: u16,
    body: Value,
    link: Option<String>,
}

fn answer(status: u16, body: Value) -> Answer {
    Answer {
        status,
        body,
        link: None,
    }
}

fn serve(kind: Kind, own: &str, mut client: TcpStream, held: &Mutex<Held>) {
    let mut reader = BufReader::new(client.try_clone().expect("a second handle"));
    let Some(question) = read(&mut reader) else { return };
    let answer = {
        let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
        held.asked.push(Asked {
            method: question.method.clone(),
            path: question.path.clone(),
        });
        let writes = question.method != "GET";
        let fails = match (held.failing.is_empty(), held.failing_writes.is_empty()) {
            (false, _) => Some(held.failing.remove(0)),
            (true, false) if writes => Some(held.failing_writes.remove(0)),
            _ => None,
        };
        match fails {
            Some(status) => answer(status, json!({"message": "Server Error"})),
            None => decide(kind, own, &question, &mut held),
        }
    };
    let body = answer.body.to_string();
    let link = answer.link.map(|link| format!("Link: {link}\r\n")).unwrap_or_default();
    let head = format!(
        "HTTP/1.1 {} x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{link}Connection: close\r\n\r\n",
        answer.status,
        body.len()
    );
    let _ = client
        .write_all(head.as_bytes())
        .and_then(|()| client.write_all(body.as_bytes()));
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Question> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_string(), words.next()?.to_string());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_string());
    }
    let length = headers
        .get("content-length")
        .and_then(|length| length.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let pair = |pair: &str| {
        pair.split_once('=')
            .map(|(name, value)| (name.to_string(), value.to_string()))
    };
    Some(Question {
        method,
        path: path.to_string(),
        query: query.split('&').filter_map(pair).collect(),
        headers,
        body,
    })
}

/// What the token may do; `Err`: the refusal.
fn identity(kind: Kind, question: &Question) -> Result<&'static str, Answer> {
    let given = match kind {
        Kind::GitHub => question
            .headers
            .get("authorization")
            .and_then(|value| value.strip_prefix("Bearer ")),
        Kind::GitLab => question.headers.get("private-token").map(String::as_str),
    };
    let writes = question.method != "GET";
    match (kind, given) {
        (_, Some(TOKEN)) => Ok(bot(kind)),
        (_, Some(FORK_TOKEN)) if !writes => Ok("somebody"),
        (Kind::GitHub, Some(FORK_TOKEN)) => Err(answer(
            403,
            json!({"message": "Resource not accessible by integration"}),
        )),
        (Kind::GitLab, Some(FORK_TOKEN)) => Err(answer(403, json!({"error": "insufficient_scope"}))),
        (Kind::GitHub, _) => Err(answer(401, json!({"message": "Bad credentials"}))),
        (Kind::GitLab, _) => Err(answer(401, json!({"message": "401 Unauthorized"}))),
    }
}

fn decide(kind: Kind, own: &str, question: &Question, held: &mut Held) -> Answer {
    if kind == Kind::GitHub && !question.headers.contains_key("user-agent") {
        return answer(
            403,
            json!({"message": "Request forbidden by administrative rules. Please make sure your request has a User-Agent header"}),
        );
    }
    let who = match identity(kind, question) {
        Ok(who) => who,
        Err(refusal) => return refusal,
    };
    let body: Value = if question.method == "GET" {
        Value::Null
    } else {
        let json = question
            .headers
            .get("content-type")
            .is_some_and(|content| content == "application/json");
        match serde_json::from_slice(&question.body) {
            Ok(body) if json => body,
            _ => return answer(400, json!({"message": "Problems parsing JSON"})),
        }
    };
    let parts: Vec<&str> = question.path.trim_start_matches('/').split('/').collect();
    let not_found = || answer(404, json!({"message": "Not Found"}));
    let paged = |all: Vec<Value>| paged(own, question, all);
    match (kind, question.method.as_str(), parts.as_slice()) {
        (Kind::GitHub, "GET", ["repos", "o", "r", "issues", number, "comments"])
        | (Kind::GitLab, "GET", ["projects", "7", "merge_requests", number, "notes"]) => {
            let all = number.parse().ok().and_then(|number: u64| held.comments.get(&number));
            all.map_or_else(not_found, |all| paged(all.clone()))
        }
        (Kind::GitHub, "POST", ["repos", "o", "r", "issues", number, "comments"])
        | (Kind::GitLab, "POST", ["projects", "7", "merge_requests", number, "notes"]) => {
            let Some(number) = number.parse().ok().filter(|number| held.comments.contains_key(number)) else {
                return not_found();
            };
            if let Some(refusal) = unfit(kind, &body["body"], "body") {
                return refusal;
            }
            let id = held.next;
            held.next += 1;
            let made = comment(kind, id, who, body["body"].as_str().unwrap_or_default());
            held.comments.entry(number).or_default().push(made.clone());
            answer(201, made)
        }
        (Kind::GitHub, "PATCH", ["repos", "o", "r", "issues", "comments", id])
        | (Kind::GitLab, "PUT", ["projects", "7", "merge_requests", _, "notes", id]) => {
            if let Some(refusal) = unfit(kind, &body["body"], "body") {
                return refusal;
            }
            let mut all = held.comments.values_mut().flatten();
            match all.find(|comment| comment["id"].as_u64() == id.parse().ok()) {
                Some(comment) if comment[author(kind)][name(kind)] == who => {
                    comment["body"] = body["body"].clone();
                    answer(200, comment.clone())
                }
                // who may write to the project may edit what others said, on GitHub; on GitLab nobody may
                Some(_) => answer(403, json!({"message": "403 Forbidden"})),
                None => not_found(),
            }
        }
        (Kind::GitHub, "GET", ["repos", "o", "r", "commits", commit, "pulls"])
        | (Kind::GitLab, "GET", ["projects", "7", "repository", "commits", commit, "merge_requests"]) => {
            paged(held.merged.get(*commit).cloned().into_iter().collect())
        }
        (Kind::GitLab, "GET", ["projects", "7", "merge_requests"]) => paged(held.open.clone()),
        (Kind::GitLab, "GET", ["user"]) => answer(200, json!({"id": 1, "username": who})),
        (Kind::GitHub, "GET", ["repos", "o", "r", "issues"]) | (Kind::GitLab, "GET", ["projects", "7", "issues"]) => {
            let wanted = |issue: &&Value| {
                let labels = issue["labels"].as_array().cloned().unwrap_or_default();
                question
                    .query
                    .get("state")
                    .is_none_or(|state| issue["state"] == state.as_str())
                    && question.query.get("labels").is_none_or(|label| {
                        labels
                            .iter()
                            .any(|one| one == label.as_str() || one["name"] == label.as_str())
                    })
            };
            paged(held.issues.iter().filter(wanted).cloned().collect())
        }
        (Kind::GitHub, "POST", ["repos", "o", "r", "issues"]) | (Kind::GitLab, "POST", ["projects", "7", "issues"]) => {
            issue(kind, who, &body, held)
        }
        (Kind::GitHub, "PATCH", ["repos", "o", "r", "issues", number])
        | (Kind::GitLab, "PUT", ["projects", "7", "issues", number]) => edit_issue(kind, number, &body, held),
        _ => not_found(),
    }
}

/// The name of an issue's number and of its text, and its open and closed states.
fn words(kind: Kind) -> [&'static str; 4] {
    match kind {
        Kind::GitHub => ["number", "body", "open", "closed"],
        Kind::GitLab => ["iid", "description", "opened", "closed"],
    }
}

fn issue(kind: Kind, who: &str, body: &Value, held: &mut Held) -> Answer {
    let [number, text, open, _] = words(kind);
    if body["title"].as_str().is_none_or(str::is_empty) {
        return answer(422, json!({"message": "Validation Failed"}));
    }
    if let Some(refusal) = unfit(kind, &body[text], text) {
        return refusal;
    }
    // a list of names there, a text with commas here
    let labels: Vec<Value> = match (kind, &body["labels"]) {
        (Kind::GitHub, Value::Array(labels)) => labels.iter().map(|label| json!({"name": label})).collect(),
        (Kind::GitLab, Value::String(labels)) => labels.split(',').map(|label| json!(label)).collect(),
        (_, Value::Null) => Vec::new(),
        _ => return answer(422, json!({"message": "Validation Failed"})),
    };
    let made = json!({
        number: held.issues.len() + 1, "title": body["title"], text: body[text], "labels": labels, "state": open,
        author(kind): {name(kind): who},
    });
    held.issues.push(made.clone());
    answer(201, made)
}

fn edit_issue(kind: Kind, number: &str, body: &Value, held: &mut Held) -> Answer {
    let [key, text, _, closed] = words(kind);
    let Some(issue) = held
        .issues
        .iter_mut()
        .find(|issue| issue[key].as_u64() == number.parse().ok())
    else {
        return answer(404, json!({"message": "Not Found"}));
    };
    if !body[text].is_null() {
        issue[text] = body[text].clone();
    }
    let closes = match kind {
        Kind::GitHub => body["state"] == "closed",
        Kind::GitLab => body["state_event"] == "close",
    };
    if closes {
        issue["state"] = json!(closed);
    }
    answer(200, issue.clone())
}

/// Why a text cannot be taken.
fn unfit(kind: Kind, text: &Value, field: &str) -> Option<Answer> {
    let most = match kind {
        Kind::GitHub => 65_536,
        Kind::GitLab => 1_000_000,
    };
    let length = text.as_str().map_or(0, |text| text.chars().count());
    match kind {
        _ if (1..=most).contains(&length) => None,
        Kind::GitHub if length == 0 => Some(answer(
            422,
            json!({"message": "Validation Failed", "errors": [{"field": field, "code": "missing_field"}]}),
        )),
        Kind::GitHub => Some(answer(
            422,
            json!({"message": "Validation Failed", "errors": [{"field": field, "message": format!("{field} is too long (maximum is {most} characters)")}]}),
        )),
        Kind::GitLab => Some(answer(
            400,
            json!({"message": format!("400 Bad request - Note {{:note=>[\"is too long (maximum is {most} characters)\"]}}")}),
        )),
    }
}

/// One page, and where the next one is. 30 elements (GitLab: 20) unless asked for more, 100 at most.
fn paged(own: &str, question: &Question, all: Vec<Value>) -> Answer {
    let number = |name: &str, default: usize| question.query.get(name).and_then(|n| n.parse().ok()).unwrap_or(default);
    let (size, page) = (number("per_page", 20).clamp(1, 100), number("page", 1).max(1));
    let shown: Vec<Value> = all.iter().skip((page - 1) * size).take(size).cloned().collect();
    let rest: Vec<String> = question
        .query
        .iter()
        .filter(|(name, _)| *name != "page")
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let at = |page: usize| format!("<{own}{}?{}&page={page}>", question.path, rest.join("&"));
    let more = all.len() > page * size;
    let last = all.len().div_ceil(size);
    Answer {
        status: 200,
        body: json!(shown),
        link: more.then(|| format!("{}; rel=\"next\", {}; rel=\"last\"", at(page + 1), at(last))),
    }
}
