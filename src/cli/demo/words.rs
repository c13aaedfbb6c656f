//! What is said around the table: where everything is, and what to try by hand; pure.

use super::plan::Plan;
use crate::app::Addresses;
use crate::cli::human::{count, time};
use std::net::SocketAddr;

/// Where everything is.
pub(super) struct Places<'a> {
    pub(super) kafka: &'a str,
    pub(super) redis: SocketAddr,
    pub(super) relay: &'a Addresses,
    /// How this program was called.
    pub(super) program: &'a str,
}

impl Places<'_> {
    fn ingest(&self) -> String {
        self.relay.ingest.map(|address| format!("http://{address}")).unwrap_or_default()
    }

    fn ops(&self) -> String {
        self.relay.ops.map(|address| format!("http://{address}")).unwrap_or_default()
    }

    fn socket(&self) -> String {
        self.relay.socket.as_ref().map(|path| path.display().to_string()).unwrap_or_default()
    }
}

/// What is about to happen, and where. `buffer` tells where the buffer is.
pub(super) fn opening(places: &Places<'_>, plan: &Plan, buffer: &str) -> Vec<String> {
    let (events, rate, outage) = (count(plan.events.into()), count(plan.rate.into()), time(plan.outage.as_secs_f64()));
    vec![
        format!("An application posts {events} events to the relay, {rate} a second, over TCP and"),
        "a Unix socket. The relay answers once they are on disk, sends them to Kafka, and".to_owned(),
        format!("then notifies Redis. After a quarter of them Kafka goes away for {outage}."),
        String::new(),
        format!("  relay   {}", places.ingest()),
        format!("  socket  {}", places.socket()),
        format!("  buffer  {buffer}"),
        format!("  Kafka   {} (a mock, in this process)", places.kafka),
        format!("  Redis   {} (Pub/Sub only, in this process)", places.redis),
        String::new(),
    ]
}

/// Requests to make by hand.
pub(super) fn by_hand(places: &Places<'_>) -> Vec<String> {
    let Places { kafka, redis, program, .. } = places;
    let (ingest, ops, socket) = (places.ingest(), places.ops(), places.socket());
    let event = |source| format!(r#"'{{"type":"order.created","source_type":"user","source_id":"{source}"}}'"#);
    let (json, tcp_event, socket_event) = ("-H 'content-type: application/json'", event("42"), event("43"));
    let text = format!(
        r"Everything stays up. In other terminals, watch:

  kcat -b {kafka} -t events -C -o end -f '%p/%o key=%k %h %s\n'
  redis-cli -p {port} psubscribe 'events:*'
  {program} status --url {ops} --watch

Post, over TCP and over the Unix socket:

  curl -s {ingest}/v1/events {json} \
    -d {tcp_event}
  curl -s --unix-socket {socket} \
    http://localhost/v1/events {json} \
    -d {socket_event}

Look:

  curl -s {ops}/v1/status
  curl -s {ops}/metrics

What you post shows up here, too. Ctrl-C ends it.
",
        port = redis.port()
    );
    text.lines().map(ToOwned::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn addresses() -> Addresses {
        let port = |port| Some(SocketAddr::from(([127, 0, 0, 1], port)));
        Addresses { ingest: port(7410), socket: Some("/tmp/d/relay.sock".into()), ops: port(7411), probe: None }
    }

    // Goal: a newcomer can copy each line and it works: the ports are those of this run.
    #[test]
    fn lines_to_copy() {
        let relay = addresses();
        let places = Places { kafka: "127.0.0.1:9092", redis: ([127, 0, 0, 1], 6379).into(), relay: &relay, program: "./dualstream" };
        let text = by_hand(&places).join("\n");
        for expect in [
            "kcat -b 127.0.0.1:9092 -t events -C ",
            "redis-cli -p 6379 psubscribe 'events:*'",
            "./dualstream status --url http://127.0.0.1:7411 --watch",
            "curl -s http://127.0.0.1:7410/v1/events -H 'content-type: application/json' \\\n",
            "curl -s --unix-socket /tmp/d/relay.sock \\\n",
            r#"-d '{"type":"order.created","source_type":"user","source_id":"42"}'"#,
            "curl -s http://127.0.0.1:7411/v1/status",
        ] {
            assert!(text.contains(expect), "{expect}\n{text}");
        }
    }

    // Goal: what is told fits a usual terminal.
    #[test]
    fn fits_80_columns() {
        let relay = addresses();
        let places = Places { kafka: "127.0.0.1:54321", redis: ([127, 0, 0, 1], 54321).into(), relay: &relay, program: "dualstream" };
        let plan = Plan { events: 100_000, rate: 10_000, outage: Duration::from_secs(60) };
        for line in
            opening(&places, &plan, "/tmp/dualstream-demo-abcdef (overlay, not durable; temporary)").into_iter().chain(by_hand(&places))
        {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}
