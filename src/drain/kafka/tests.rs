//! The adapter, and the whole drain, against librdkafka's mock cluster.
//!
//! The mock keeps no idempotence state, so repeats inside its log are possible that a broker would drop; what is read back is judged
//! as a consumer would: what is not above the last seen seq of its partition is a repeat.

#![expect(clippy::cast_precision_loss, reason = "rates of a measurement")]

use super::super::clock::SystemClock;
use super::super::source::Source;
use super::super::stats::{DrainState, DrainStats};
use super::super::stop::{DrainReport, DrainStop};
use super::super::{Drain, DrainHandles, Policy};
use super::*;
use crate::buffer::{DeadLetter, DeadLetterError, Leased, ReadError};
use crate::config::OnRejected;
use crate::event::{BatchBuilder, EventParts, Field};
use crate::lifecycle::AckWaiters;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message, OwnedMessage};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::{BTreeMap, BTreeSet};
use std::thread::JoinHandle;

const TOPIC: &str = "events";
const PARTITIONS: i32 = 4;
const ACCEPTED_MS: u64 = 1_700_000_000_123;
const RELAY: &str = "0192-relay";

type Mock = MockCluster<'static, DefaultProducerContext>;

fn mock() -> Mock {
    let mock = MockCluster::new(1).unwrap();
    mock.create_topic(TOPIC, PARTITIONS, 1).unwrap();
    mock
}

fn config(brokers: &str) -> KafkaConfig {
    KafkaConfig { brokers: brokers.into(), topic: TOPIC.into(), ..KafkaConfig::default() }
}

/// A buffer in memory: one frame of events, and the books.
struct OneFrame {
    frame: Leased,
    given: bool,
    booked: BTreeSet<u64>,
}

impl Source for OneFrame {
    fn next(&mut self) -> Result<Option<Leased>, ReadError> {
        Ok((!std::mem::replace(&mut self.given, true)).then(|| self.frame.clone()))
    }

    fn is_acked(&self, seq: Seq) -> bool {
        self.booked.contains(&seq.0)
    }

    fn wait(&self, timeout: Duration) {
        std::thread::park_timeout(timeout);
    }

    fn ack(&mut self, seqs: &[Seq]) -> usize {
        seqs.iter().filter(|seq| self.booked.insert(seq.0)).count()
    }

    fn dead_letter(&mut self, letter: &DeadLetter) -> Result<(), DeadLetterError> {
        panic!("event {} was given up", letter.seq)
    }

    fn rewind(&mut self) {
        self.given = false;
    }

    fn acked(&self) -> Seq {
        let waiting = (1..=u64::from(self.frame.count)).find(|seq| !self.booked.contains(seq));
        Seq(waiting.map_or(u64::from(self.frame.count), |seq| seq - 1))
    }

    fn durable(&self) -> Seq {
        Seq(u64::from(self.frame.count))
    }

    fn mark_partition(&mut self, topic: &Arc<str>, partition: i32, seq: Seq, _offset: i64) {
        assert!(&**topic == TOPIC && (0..PARTITIONS).contains(&partition) && self.booked.contains(&seq.0));
    }
}

/// Events 1 to `count`, of as many sources as a small prime, each value padded to `bytes`.
fn events(count: u64, bytes: usize) -> OneFrame {
    let (mut batch, pad) = (BatchBuilder::default(), "x".repeat(bytes));
    for seq in 1..=count {
        let (value, key) = (format!("{{\"n\":{seq},\"pad\":\"{pad}\"}}"), format!("source-{}", seq % 13));
        batch.push(&EventParts {
            value: value.as_bytes(),
            id: Field::Text("id"),
            kind: Field::Text("made"),
            source_type: Field::Text("user"),
            source_id: Field::Text(&key),
            traceparent: Field::Absent,
        });
    }
    let payload = batch.finish().into_payload().into();
    let frame = Leased { first_seq: Seq(1), count: u32::try_from(count).unwrap(), accepted_ms: ACCEPTED_MS, payload };
    OneFrame { frame, given: false, booked: BTreeSet::new() }
}

/// A drain on its thread.
struct Running {
    stats: Arc<DrainStats>,
    stop: DrainStop,
    thread: JoinHandle<DrainReport>,
}

impl Running {
    fn start(config: &KafkaConfig, source: OneFrame) -> Self {
        let (stats, stop) = (Arc::new(DrainStats::default()), DrainStop::default());
        let handles = DrainHandles {
            stats: Arc::clone(&stats),
            acks: Arc::new(AckWaiters::default()),
            on_acked: None,
            heartbeat: None,
            stop: stop.clone(),
        };
        let factory = KafkaFactory::build(config, RELAY, &Arc::default()).unwrap();
        let thread = std::thread::spawn(move || {
            Drain::assemble(
                source,
                factory,
                SystemClock,
                handles,
                Policy { on_rejected: OnRejected::Block, ..Policy::default() },
                fastrand::Rng::with_seed(1),
            )
            .run()
        });
        Self { stats, stop, thread }
    }

    fn finish(self, within: Duration) -> DrainReport {
        self.stop.finish(Instant::now() + within);
        self.thread.join().unwrap()
    }

    fn state(&self) -> DrainState {
        self.stats.state.lock().unwrap().clone()
    }
}

/// Comes back once the condition holds; fails the test when it does not within a minute.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// Everything in the topic, until `enough` says so.
fn consume(mock: &Mock, mut enough: impl FnMut(&[OwnedMessage]) -> bool) -> Vec<OwnedMessage> {
    let mut client = ClientConfig::new();
    let _ = client.set("bootstrap.servers", mock.bootstrap_servers()).set("group.id", "test").set("enable.partition.eof", "false");
    let consumer: BaseConsumer = client.create().unwrap();
    let mut all = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        all.add_partition_offset(TOPIC, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&all).unwrap();
    let mut messages = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(60);
    while !enough(&messages) {
        assert!(Instant::now() < deadline, "only {} messages came", messages.len());
        if let Some(message) = consumer.poll(Duration::from_millis(20)) {
            messages.push(message.unwrap().detach());
        }
    }
    messages
}

fn seq_of(message: &OwnedMessage) -> u64 {
    let identity = header(message, record::IDENTITY_HEADER).unwrap();
    identity.strip_prefix("0192-relay/").unwrap().parse().unwrap()
}

fn header(message: &OwnedMessage, key: &str) -> Option<String> {
    let found = message.headers()?.iter().find(|header| header.key == key)?;
    Some(String::from_utf8(found.value?.to_vec()).unwrap())
}

/// Reads until every event from 1 to `count` is there, and checks each partition as a consumer that drops repeats sees it.
fn check_log(mock: &Mock, count: u64) -> usize {
    let mut seen = BTreeSet::new();
    let mut looked_at = 0;
    let messages = consume(mock, |messages| {
        seen.extend(messages[looked_at..].iter().map(seq_of));
        looked_at = messages.len();
        seen.len() as u64 == count
    });
    let mut newest: BTreeMap<i32, u64> = BTreeMap::new();
    let mut kept = BTreeSet::new();
    for message in &messages {
        let (seq, last) = (seq_of(message), newest.entry(message.partition()).or_default());
        if seq > *last {
            *last = seq;
            let _ = kept.insert(seq);
        }
    }
    assert_eq!(kept.len() as u64, count, "a consumer that drops repeats misses events: they are out of order");
    messages.len()
}

// Goal: a Kafka consumer finds the event as it was accepted: key, value, time and identity, on the partition where Java would put it.
#[test]
fn a_record_is_what_the_contract_says() {
    let mock = mock();
    let mut sink = KafkaFactory::build(&config(&mock.bootstrap_servers()), RELAY, &Arc::default()).unwrap().connect().unwrap();
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let value = br#"{"id":"a","payload":"\u00fc"}"#;
    let mut event = EventRef { id: "a", kind: "made", source_type: "user", source_id: "foobar", traceparent: Some(trace), value };
    assert_eq!(sink.send(&event, Seq(41), ACCEPTED_MS), SendOutcome::Sent);
    event.traceparent = None;
    assert_eq!(sink.send(&event, Seq(42), ACCEPTED_MS + 1), SendOutcome::Sent);
    let mut reports = Vec::new();
    until("both are reported", || {
        sink.poll(Duration::from_millis(10), &mut reports);
        reports.len() == 2
    });
    let places: Vec<_> = reports.iter().map(|report| (report.seq, report.result.clone().unwrap())).collect();
    // murmur2("foobar") is -790332482 in Apache Kafka's own tests: positive 1357151166, modulo 4 partitions 2.
    let place = |offset| crate::event::Place { topic: TOPIC.into(), partition: 2, offset };
    assert_eq!(places, [(Seq(41), place(0)), (Seq(42), place(1))]);
    assert!(sink.connected());

    let messages = consume(&mock, |messages| messages.len() == 2);
    assert_eq!(messages[0].key(), Some(&b"foobar"[..]));
    assert_eq!(messages[0].payload(), Some(&value[..]));
    assert_eq!(messages[0].timestamp().to_millis(), Some(1_700_000_000_123));
    assert_eq!(header(&messages[0], "dualstream").as_deref(), Some("0192-relay/41"));
    assert_eq!(header(&messages[0], "content-type").as_deref(), Some("application/json"));
    assert_eq!(header(&messages[0], "traceparent").as_deref(), Some(trace));
    assert_eq!(header(&messages[1], "traceparent"), None);
    assert_eq!(messages[1].timestamp().to_millis(), Some(1_700_000_000_124));
    sink.discard();
}

// Goal: a broker that is away at the start and comes back gets everything, once.
#[test]
fn an_outage_is_waited_out() {
    let mock = mock();
    mock.broker_down(-1).unwrap();
    let drain = Running::start(&config(&mock.bootstrap_servers()), events(1_000, 50));
    until("the outage is noticed", || drain.stats.last_error.lock().unwrap().is_some());
    assert_eq!(drain.state(), DrainState::Connecting);
    assert_eq!(drain.stats.acked.get(), 0);
    mock.broker_up(-1).unwrap();
    until("all is delivered", || drain.stats.acked.get() == 1_000);
    until("the state is shown", || drain.state() == DrainState::Running);
    assert_eq!(drain.stats.retries.iter().map(crate::lifecycle::Counter::get).sum::<u64>(), 0, "the same handle carried on");
    assert_eq!(drain.finish(Duration::from_secs(60)), DrainReport { acked: 0, left: 0, in_doubt: 0 });
    assert_eq!(check_log(&mock, 1_000), 1_000);
}

// Goal: whatever error a broker gives for a batch, no event is lost and no later one overtakes it.
#[test]
fn no_broker_error_loses_or_reorders() {
    use RDKafkaRespErr as Code;
    let codes = [
        (Code::RD_KAFKA_RESP_ERR_UNKNOWN, true),
        (Code::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, false),
        (Code::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND, false),
        (Code::RD_KAFKA_RESP_ERR_INVALID_MSG, false),
        (Code::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, true),
        (Code::RD_KAFKA_RESP_ERR_INVALID_RECORD, true),
        (Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, true),
        (Code::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, true),
        (Code::RD_KAFKA_RESP_ERR__TRANSPORT, false),
    ];
    std::thread::scope(|scope| {
        let checks = codes.map(|(code, ends)| (code, scope.spawn(move || delivers_in_spite_of(code, ends))));
        for (code, check) in checks {
            assert!(check.join().is_ok(), "{code:?}");
        }
    });
}

/// `ends_handle`: whether librdkafka leaves it to us to go on after such an error.
fn delivers_in_spite_of(code: RDKafkaRespErr, ends_handle: bool) {
    let mock = mock();
    // Good batches before, between and after the bad ones.
    let fine = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;
    mock.request_errors(RDKafkaApiKey::Produce, &[fine, fine, fine, code, fine, fine, code]);
    let mut config = config(&mock.bootstrap_servers());
    let _ = config.properties.insert("batch.num.messages".into(), "50".into());
    let drain = Running::start(&config, events(2_000, 50));
    until("all is delivered", || drain.stats.acked.get() == 2_000);
    assert_eq!(drain.stats.retries.iter().any(|retries| retries.get() > 0), ends_handle);
    let report = drain.finish(Duration::from_secs(60));
    assert_eq!((report.left, report.in_doubt), (0, 0));
    let _ = check_log(&mock, 2_000);
}

// Goal: a right that is missing is shown as such, costs nothing, and once it is granted the drain goes on by itself.
#[test]
fn a_missing_right_blocks_until_it_is_granted() {
    let mock = mock();
    mock.topic_error(TOPIC, RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED).unwrap();
    let drain = Running::start(&config(&mock.bootstrap_servers()), events(100, 50));
    until("it is shown", || matches!(drain.state(), DrainState::Blocked { reason: "authorization", .. }));
    let DrainState::Blocked { detail, .. } = drain.state() else { unreachable!("nothing was granted yet") };
    assert!(detail.contains("grant WRITE") && detail.contains("event "), "{detail}");
    assert_eq!(drain.stats.acked.get(), 0);
    mock.topic_error(TOPIC, RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR).unwrap();
    until("all is delivered", || drain.stats.acked.get() == 100);
    let _ = drain.finish(Duration::from_secs(60));
    let _ = check_log(&mock, 100);
}

// Goal: a value that would not fit librdkafka's default limits goes through; the topic's own limit decides.
#[test]
fn a_large_event_is_not_refused_here() {
    let mock = mock();
    let drain = Running::start(&config(&mock.bootstrap_servers()), events(3, 1_500_000));
    until("all is delivered", || drain.stats.acked.get() == 3);
    assert_eq!(drain.finish(Duration::from_secs(60)).left, 0);
}

// Goal: a shutdown while Kafka is away ends in time and says what stays.
#[test]
fn a_stop_in_an_outage_ends_in_time() {
    let mock = mock();
    mock.broker_down(-1).unwrap();
    let drain = Running::start(&config(&mock.bootstrap_servers()), events(100, 50));
    until("they are on their way", || drain.stats.inflight.get() == 100);
    let asked = Instant::now();
    let report = drain.finish(Duration::from_millis(400));
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    assert_eq!((report.acked, report.left), (0, 100));
    assert_eq!(report.in_doubt, 0, "none of them ever left this machine");
}

// Goal: `check --connect` tells what is there, without making the topic that it looks for.
#[test]
fn a_probe_tells_what_is_there() {
    let mock = mock();
    let timeout = Duration::from_secs(2);
    let facts = probe(&config(&mock.bootstrap_servers()), timeout).unwrap();
    assert_eq!(facts.brokers, [mock.bootstrap_servers()]);
    assert_eq!(facts.topic, Some((TOPIC.to_owned(), 4)));

    let by_type = KafkaConfig { topic: "events.{type}".into(), ..config(&mock.bootstrap_servers()) };
    assert_eq!(probe(&by_type, timeout).unwrap().topic, None);

    let missing = KafkaConfig { topic: "missing".into(), ..config(&mock.bootstrap_servers()) };
    for _ in 0..2 {
        let error = probe(&missing, timeout).unwrap_err();
        assert!(matches!(&error, ProbeError::NoTopic { topic } if topic == "missing"), "{error}");
    }
    mock.topic_error(TOPIC, RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED).unwrap();
    let error = probe(&config(&mock.bootstrap_servers()), timeout).unwrap_err();
    assert!(matches!(error, ProbeError::NotAuthorized { .. }), "{error}");
}

// Goal: a wrong address is named, with what the connection said.
#[test]
fn a_probe_names_who_does_not_answer() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = probe(&config(&free.to_string()), Duration::from_millis(500)).unwrap_err().to_string();
    assert!(error.contains(&free.to_string()) && error.contains("Connection refused"), "{error}");
}

// Goal: what the relay adds to librdkafka costs little: at least four fifths of a bare producer loop with the same settings.
#[test]
#[ignore = "a measurement: run it alone, in release, on a quiet machine"]
fn keeps_up_with_a_bare_producer() {
    const EVENTS: u64 = 400_000;
    let mock = mock();
    let (mut bare, mut ours) = (0.0_f64, 0.0_f64);
    for _ in 0..3 {
        bare = bare.max(bare_rate(&mock, EVENTS));
        let drain = Running::start(&config(&mock.bootstrap_servers()), events(EVENTS, 250));
        until("the first is delivered", || drain.stats.acked.get() > 0);
        let (began, before) = (Instant::now(), drain.stats.acked.get());
        until("all is delivered", || drain.stats.acked.get() == EVENTS);
        ours = ours.max((EVENTS - before) as f64 / began.elapsed().as_secs_f64());
        let _ = drain.finish(Duration::from_secs(1));
    }
    assert!(ours >= 0.8 * bare, "{ours:.0} events a second, {bare:.0} bare");
}

/// Events a second that the handle alone delivers, from its first report on.
fn bare_rate(mock: &Mock, count: u64) -> f64 {
    let mut sink = KafkaFactory::build(&config(&mock.bootstrap_servers()), RELAY, &Arc::default()).unwrap().connect().unwrap();
    let frame = events(count, 250).next().unwrap().unwrap();
    let (mut began, mut reports, mut done) = (None, Vec::new(), 0);
    let mut take = |sink: &mut KafkaHandle, timeout| {
        sink.poll(timeout, &mut reports);
        done += reports.drain(..).count() as u64;
        if done > 0 && began.is_none() {
            began = Some((Instant::now(), done));
        }
        let (since, before) = began.filter(|_| done == count)?;
        Some((done - before) as f64 / since.elapsed().as_secs_f64())
    };
    for (seq, event) in (1..).zip(crate::event::Records::new(&frame.payload)) {
        while sink.send(event.as_ref().unwrap(), Seq(seq), ACCEPTED_MS) == SendOutcome::Full {
            let _ = take(&mut sink, LOOK_EVERY);
        }
        if seq % 512 == 0 {
            let _ = take(&mut sink, Duration::ZERO);
        }
    }
    loop {
        if let Some(rate) = take(&mut sink, LOOK_EVERY) {
            return rate;
        }
    }
}
