//! A transport that plays what APIs do, with time that is only counted.

use std::collections::VecDeque;
use std::sync::Mutex;

use http::header::LOCATION;

use super::*;

type Reply = Result<http::Response<Vec<u8>>, Failure>;

/// Answers with one reply after the other, then with success; keeps what it was sent and when.
#[derive(Default)]
struct Script {
    replies: Mutex<VecDeque<Option<Reply>>>,
    sent: Mutex<Vec<(Instant, http::Request<Vec<u8>>)>>,
}

#[async_trait]
impl Transport for Script {
    async fn send(&self, request: http::Request<Vec<u8>>) -> Reply {
        self.sent.lock().expect("one at a time").push((Instant::now(), request));
        let reply = self.replies.lock().expect("one at a time").pop_front();
        match reply {
            Some(Some(reply)) => reply,
            Some(None) => std::future::pending().await,
            None => Ok(http::Response::new(b"done".to_vec())),
        }
    }
}

/// Signs with the time of day and a secret; an answer's body is `code message`.
struct Plain;

#[async_trait]
impl Dialect for Plain {
    async fn sign(&self, call: &Call, at: Timestamp) -> Result<http::Request<Vec<u8>>, Failure> {
        let request = http::Request::builder().uri(format!("{}{}", call.origin, call.path));
        let request = request.header("x-time", at.to_string()).header("x-key", "s3cret");
        Ok(request.body(call.body.clone().into_bytes()).expect("a request"))
    }

    fn refused(&self, status: StatusCode, _: &HeaderMap, body: &[u8]) -> Option<Refused> {
        let text = String::from_utf8(body.to_vec()).ok()?;
        let (code, message) = text.split_once(' ')?;
        let sort = match code {
            "throttled" => Sort::Throttled,
            "failed" => Sort::Passing,
            "skewed" => Sort::Skewed,
            "unsigned" => Sort::Unsigned,
            "final" => Sort::Final,
            _ => return None,
        };
        Some(Refused {
            status: status.as_u16(),
            code: code.to_string(),
            message: message.to_string(),
            sort,
        })
    }

    fn redact(&self, text: &str) -> String {
        text.replace("s3cret", "[redacted]")
    }
}

fn answer(status: u16, body: &str, headers: &[(&str, &str)]) -> Option<Reply> {
    let mut response = http::Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    Some(Ok(response.body(body.as_bytes().to_vec()).expect("a response")))
}

fn broken() -> Option<Reply> {
    Some(Err(Failure::Broken("the connection broke: reset".to_string())))
}

struct Played {
    outcome: Result<String, Failure>,
    /// Seconds between tries.
    pauses: Vec<f64>,
    sent: Vec<http::Request<Vec<u8>>>,
}

/// 2026-11-28T12:00:00Z.
const NOON: i64 = 1_795_867_200;

async fn play(changes_something: bool, replies: Vec<Option<Reply>>) -> Played {
    let script = Arc::new(Script {
        replies: Mutex::new(replies.into()),
        ..Script::default()
    });
    let given = Given {
        now: || Timestamp::from_second(NOON).expect("a time"),
        jitter: || 1.0,
    };
    let limits = Limits::new(Duration::from_secs(60));
    let caller = Caller::new(script.clone(), Arc::new(Plain), limits, given);
    let call = Call {
        method: Method::POST,
        origin: "https://api.test".to_string(),
        path: "/".to_string(),
        content: "text/plain",
        body: "x".to_string(),
        changes_something,
    };
    let outcome = caller.send(&call).await;
    let sent = std::mem::take(&mut *script.sent.lock().expect("one at a time"));
    let times: Vec<Instant> = sent.iter().map(|(at, _)| *at).collect();
    Played {
        outcome: outcome.map(|answer| String::from_utf8(answer.body).expect("text")),
        pauses: times.windows(2).map(|two| (two[1] - two[0]).as_secs_f64()).collect(),
        sent: sent.into_iter().map(|(_, request)| request).collect(),
    }
}

fn refused(played: &Played) -> &str {
    match &played.outcome {
        Err(Failure::Refused(refused)) => &refused.code,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn throttling_is_waited_out_by_reads_and_writes_with_growing_pauses() {
    for write in [false, true] {
        let throttled = || answer(503, "throttled slow down", &[]);
        let played = play(write, vec![throttled(), throttled(), throttled()]).await;
        assert_eq!(played.outcome.as_deref(), Ok("done"));
        assert_eq!(played.pauses, [0.4, 0.8, 1.6]);
    }
}

#[tokio::test(start_paused = true)]
async fn waits_are_bounded_in_number_and_time() {
    let throttled = || answer(503, "throttled slow down", &[]);
    let played = play(true, (0..20).map(|_| throttled()).collect()).await;
    assert_eq!(refused(&played), "throttled");
    assert_eq!(played.sent.len(), 6);
    assert_eq!(played.pauses.iter().sum::<f64>(), 0.4 + 0.8 + 1.6 + 3.2 + 6.4);
    let later = || answer(429, "throttled slow down", &[("retry-after", "25")]);
    let played = play(false, (0..20).map(|_| later()).collect()).await;
    assert_eq!(refused(&played), "throttled");
    assert_eq!(
        played.pauses,
        [25.0, 25.0],
        "a third pause would end after the deadline"
    );
}

#[tokio::test(start_paused = true)]
async fn a_read_is_asked_again_and_a_write_that_may_have_been_made_is_not() {
    let lost: [fn() -> Option<Reply>; 3] = [
        broken,
        || answer(500, "failed inside", &[]),
        || answer(502, "<html>bad gateway</html>", &[]),
    ];
    for reply in lost {
        let read = play(false, vec![reply(), reply()]).await;
        assert_eq!(read.outcome.as_deref(), Ok("done"));
        assert_eq!(read.sent.len(), 3);
        let write = play(true, vec![reply(), reply()]).await;
        assert!(write.outcome.is_err());
        assert_eq!(write.sent.len(), 1, "sent once: {:?}", write.outcome);
    }
    let unsent = || Some(Err(Failure::Unsent("no connection: refused".to_string())));
    let write = play(true, vec![unsent()]).await;
    assert_eq!(write.outcome.as_deref(), Ok("done"), "nothing was sent the first time");
    let write = play(true, vec![unsent(), unsent()]).await;
    assert_eq!(write.sent.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_stays_the_same_is_not_asked_for_again() {
    for reply in [
        answer(403, "final not allowed", &[]),
        answer(400, "<html>no</html>", &[]),
    ] {
        assert_eq!(play(false, vec![reply]).await.sent.len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_api_is_given_up() {
    let played = play(false, vec![None]).await;
    let after = Duration::from_secs(60);
    assert_eq!(played.outcome, Err(Failure::TimedOut { after }));
}

#[tokio::test(start_paused = true)]
async fn a_wrong_clock_is_corrected_once_also_for_writes() {
    let times = |played: &Played| -> Vec<String> {
        let time = |request: &http::Request<Vec<u8>>| request.headers()["x-time"].to_str().map(ToString::to_string);
        played.sent.iter().map(|request| time(request).expect("text")).collect()
    };
    let at_half_past = [("date", "Sat, 28 Nov 2026 12:30:00 GMT")];
    for code in ["skewed late", "unsigned does not match"] {
        let played = play(true, vec![answer(400, code, &at_half_past)]).await;
        assert_eq!(played.outcome.as_deref(), Ok("done"));
        assert_eq!(times(&played), ["2026-11-28T12:00:00Z", "2026-11-28T12:30:00Z"]);
        let played = play(
            true,
            vec![answer(400, code, &at_half_past), answer(400, code, &at_half_past)],
        )
        .await;
        assert_eq!(played.sent.len(), 2, "once: {:?}", played.outcome);
    }
    let just_now = [("date", "Sat, 28 Nov 2026 12:00:05 GMT")];
    let played = play(true, vec![answer(401, "unsigned wrong key", &just_now)]).await;
    assert_eq!(refused(&played), "unsigned");
    assert_eq!(played.sent.len(), 1, "it is not the clock");
}

#[tokio::test(start_paused = true)]
async fn a_redirect_is_not_followed() {
    let to = [(LOCATION.as_str(), "https://elsewhere.test/")];
    let played = play(false, vec![answer(307, "go there", &to)]).await;
    assert!(matches!(played.outcome, Err(Failure::Foreign { status: 307, .. })));
    assert_eq!(played.sent.len(), 1);
    assert_eq!(played.sent[0].uri().host(), Some("api.test"));
}

#[tokio::test(start_paused = true)]
async fn secrets_are_in_no_failure() {
    for reply in [
        answer(403, "final your key is s3cret", &[]),
        answer(400, "<p>s3cret</p>", &[]),
        Some(Err(Failure::Broken("s3cret".to_string()))),
    ] {
        let failure = play(true, vec![reply]).await.outcome.expect_err("a failure");
        let text = format!("{failure} {failure:?}");
        assert!(!text.contains("s3cret") && text.contains("[redacted]"), "{text}");
    }
}
