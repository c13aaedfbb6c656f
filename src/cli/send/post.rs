//! One request to ingest: posts, waits and tries again when the relay is full, and reads the refusal.

use super::super::exit::{Exit, Failure};
use super::super::http_client::{Client, Content, Reply};
use super::super::human::plain;
use super::super::look::Look;
use super::super::output::Output;
use bytes::Bytes;
use http::StatusCode;
use http::header::RETRY_AFTER;
use serde_json::Value;
use std::time::Duration;

/// Longest wait between two tries, whatever the relay asks for.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Most errors of single events that are printed.
const MAX_ERRORS_SHOWN: usize = 20;

/// Posts requests to one relay.
pub(super) struct Poster {
    client: Client,
    target: String,
    retries: u32,
    /// Whether somebody waits for Kafka's confirmation.
    wants_kafka: bool,
}

/// What became of a request.
#[derive(Debug)]
pub(super) enum Sent {
    /// Everything is stored; the reply is printed.
    Accepted {
        /// So many of the events were there before, and were not stored again.
        known: u64,
    },
    /// Nothing was stored.
    Refused(Refusal),
}

/// A refusal, ready to be told.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    detail: String,
    /// Index of the event, when one is meant, and what is wrong with it.
    errors: Vec<(Option<u64>, String)>,
    /// What the index is called.
    place: &'static str,
}

impl Poster {
    /// Posts to `target`, and again up to `retries` times while the relay is full. `wants_kafka`: a reply without Kafka's
    /// confirmation is worth a word.
    pub(super) fn new(client: Client, target: String, retries: u32, wants_kafka: bool) -> Self {
        Self { client, target, retries, wants_kafka }
    }

    /// Posts and prints the reply.
    ///
    /// # Errors
    /// When the relay cannot be reached. A request whose answer never came is not repeated: it may have been stored.
    pub(super) async fn post(&self, content_type: &'static str, body: Bytes, out: &mut Output) -> Result<Sent, Failure> {
        let mut tries_left = self.retries;
        loop {
            let content = Content { content_type, bytes: body.clone() };
            let reply = self.client.post(&self.target, content).await?;
            if reply.status.is_success() {
                out.bytes(reply.body.trim_ascii())?;
                out.line("")?;
                if self.wants_kafka && reply.status == StatusCode::ACCEPTED {
                    out.note("Kafka has not confirmed in time; the events are on disk and will be delivered");
                }
                return Ok(Sent::Accepted { known: known(&reply) });
            }
            let refusal = Refusal::read(&reply);
            let pause = pause(&reply).filter(|_| tries_left > 0);
            let Some(pause) = pause else { return Ok(Sent::Refused(refusal)) };
            tries_left -= 1;
            out.note(format_args!("{}; trying again in {} s ({tries_left} tries left)", refusal.detail, pause.as_secs()));
            tokio::time::sleep(pause).await;
        }
    }
}

/// How many events the relay had already.
fn known(reply: &Reply) -> u64 {
    let told: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    Look(&told).count("duplicates").unwrap_or_default()
}

/// How long to wait before trying again; `None` when that would not help.
fn pause(reply: &Reply) -> Option<Duration> {
    if reply.status != StatusCode::SERVICE_UNAVAILABLE {
        return None;
    }
    let seconds = reply.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()).and_then(|text| text.trim().parse().ok());
    Some(Duration::from_secs(seconds.unwrap_or(1).max(1)).min(LONGEST_PAUSE))
}

impl Sent {
    /// Names events by the lines they stand on.
    pub(super) fn name_lines(self, line_numbers: &[u64]) -> Self {
        let Self::Refused(mut refusal) = self else { return self };
        refusal.place = "line";
        for (index, _) in &mut refusal.errors {
            let line = index.and_then(|index| usize::try_from(index).ok()).and_then(|index| line_numbers.get(index));
            *index = line.copied();
        }
        Self::Refused(refusal)
    }

    /// A refusal as a failure; `of` tells which request it was.
    pub(super) fn or_fail(self, of: &str) -> Result<(), Failure> {
        let Self::Refused(refusal) = self else { return Ok(()) };
        let mut lines = vec![format!("the relay refused the request{of} ({}): {}", refusal.status, refusal.detail)];
        lines.extend(refusal.errors.iter().take(MAX_ERRORS_SHOWN).map(|(place, problem)| {
            let place = place.map(|number| format!("{} {number}: ", refusal.place)).unwrap_or_default();
            format!("  {place}{problem}")
        }));
        let more = refusal.errors.len().saturating_sub(MAX_ERRORS_SHOWN);
        lines.extend((more > 0).then(|| format!("  and {more} more")));
        Err(Failure::new(Exit::Failed, lines.join("\n")))
    }
}

impl Refusal {
    fn read(reply: &Reply) -> Self {
        let problem: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let problem = Look(&problem);
        let text = |look: Look<'_>, name| look.text(name).map(plain);
        let detail = text(problem, "detail").or_else(|| text(problem, "title")).unwrap_or_else(|| "it did not say why".to_owned());
        let errors = problem.items("errors").map(|error| {
            let parts = [text(error, "field"), text(error, "problem")];
            (error.count("index"), parts.into_iter().flatten().collect::<Vec<_>>().join(": "))
        });
        Self { status: reply.status, detail, errors: errors.collect(), place: "event" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn reply(status: u16, retry_after: Option<&str>, body: &Value) -> Reply {
        let mut headers = http::HeaderMap::new();
        if let Some(seconds) = retry_after {
            let _ = headers.insert(RETRY_AFTER, seconds.parse().unwrap());
        }
        Reply { status: StatusCode::from_u16(status).unwrap(), headers, body: body.to_string().into() }
    }

    // Goal: only "full for now" is tried again, after the wait that the relay asked for, but never for ever.
    #[test]
    fn pauses() {
        for (status, retry_after, expect) in [
            (503, Some("7"), Some(7)),
            (503, Some("0"), Some(1)),
            (503, Some("86400"), Some(60)),
            (503, Some("soon"), Some(1)),
            (503, None, Some(1)),
            (422, Some("7"), None),
            (500, None, None),
        ] {
            assert_eq!(pause(&reply(status, retry_after, &json!({}))).map(|pause| pause.as_secs()), expect, "{status} {retry_after:?}");
        }
    }

    // Goal: a refused line of a large file can be found.
    #[test]
    fn refusals_name_the_line() {
        let body = json!({"detail": "2 events are wrong", "errors": [
            {"index": 1, "field": "source_id", "problem": "must not be empty"},
            {"index": 9, "problem": "odd"},
        ]});
        let sent = Sent::Refused(Refusal::read(&reply(422, None, &body)));
        let failure = sent.name_lines(&[1, 3, 4]).or_fail(" from line 1").unwrap_err();
        assert_eq!(failure.exit, Exit::Failed);
        assert_eq!(
            failure.message,
            "the relay refused the request from line 1 (422 Unprocessable Entity): 2 events are wrong\n  line 3: source_id: must not be empty\n  odd"
        );
    }

    // Goal: even an answer that is no problem document is told.
    #[test]
    fn a_strange_answer_is_told() {
        let sent = Sent::Refused(Refusal::read(&reply(502, None, &Value::Null)));
        assert_eq!(sent.or_fail("").unwrap_err().message, "the relay refused the request (502 Bad Gateway): it did not say why");
    }
}
