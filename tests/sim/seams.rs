//! The drain's three seams: the buffer's reader with the checks before it, simulated time, the handle on the simulated Kafka.

use super::baton::Seat;
use dualstream::buffer::{DeadLetter, DeadLetterError, Leased, ParkError, ParkedEvent, ReadError};
use dualstream::drain::{Clock, DrainStop, ParkedSource, Purge, Refusal, Report, SendOutcome, Sink, SinkFactory, Source, Tail, Wanted};
use dualstream::event::{EventRef, Place, Records, Seq};
use rdkafka::error::RDKafkaErrorCode as Code;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::book::Poison;
use super::kafka::{PARKED, Record, partition_of};

/// Between two looks at whether Kafka can be read.
const SLICE: Duration = Duration::from_millis(500);

/// The real reader of a line; whoever waits lets the others have their turns.
pub struct Watched<S> {
    pub reader: S,
    pub seat: Seat,
}

impl<S: Source> Source for Watched<S> {
    fn next(&mut self) -> Result<Option<Leased>, ReadError> {
        let leased = self.reader.next()?;
        if let Some(frame) = &leased {
            let book = &mut self.seat.look().book;
            for (n, record) in (0_u64..).zip(Records::new(&frame.payload)) {
                let event = record.unwrap_or_else(|error| panic!("the frame of seq {} does not decode: {error}", frame.first_seq));
                let number = book.recognise(&event);
                book.seen(frame.first_seq.0 + n, number);
            }
        }
        Ok(leased)
    }

    fn is_acked(&self, seq: Seq) -> bool {
        self.reader.is_acked(seq)
    }

    fn wait(&self, timeout: Duration) {
        self.seat.pass(timeout);
    }

    fn ack(&mut self, seqs: &[Seq]) -> usize {
        let mut world = self.seat.look();
        for Seq(seq) in seqs {
            assert!(world.kafka.arrived.contains(seq), "G2: seq {seq} is booked and not in Kafka");
            assert!(world.kafka.confirmed.contains(seq), "G1: seq {seq} is booked before Kafka's report");
            world.trace.note("booked", &[*seq]);
            world.book.acked(*seq, self.seat.line == PARKED);
        }
        drop(world);
        self.reader.ack(seqs)
    }

    fn dead_letter(&mut self, letter: &DeadLetter) -> Result<(), DeadLetterError> {
        // Not while the world is held: the disk may fail in the middle.
        self.reader.dead_letter(letter)?;
        let mut world = self.seat.look();
        let event = letter.event().unwrap_or_else(|| panic!("the dead letter of seq {} does not decode", letter.seq));
        let number = world.book.recognise(&event);
        world.trace.note("dead letter", &[letter.seq, number]);
        world.book.died(letter.seq, number);
        Ok(())
    }

    fn rewind(&mut self) {
        self.seat.look().trace.note("rewind", &[]);
        self.reader.rewind();
    }

    fn acked(&self) -> Seq {
        self.reader.acked()
    }

    fn durable(&self) -> Seq {
        self.reader.durable()
    }

    fn mark_partition(&mut self, topic: &Arc<str>, partition: i32, seq: Seq, offset: i64) {
        self.reader.mark_partition(topic, partition, seq, offset);
    }

    fn in_doubt(&mut self) -> Option<Seq> {
        let in_doubt = self.reader.in_doubt();
        self.seat.look().looks_back[self.seat.line] |= in_doubt.is_some();
        in_doubt
    }

    fn leave_in_doubt(&mut self) {
        self.seat.look().trace.note("left in doubt", &[]);
        self.reader.leave_in_doubt();
    }

    fn places(&self) -> Vec<Place> {
        self.reader.places()
    }

    fn parks(&self) -> bool {
        self.reader.parks()
    }

    fn is_parked(&self, topic: &str) -> bool {
        self.reader.is_parked(topic)
    }

    fn park_topic(&mut self, topic: &str) -> bool {
        self.seat.look().trace.note("park topic", &[number_of(topic)]);
        self.reader.park_topic(topic)
    }

    fn park(&mut self, topic: &str, events: &[ParkedEvent]) -> Result<(), ParkError> {
        // Not while the world is held: the disk may fail in the middle.
        self.reader.park(topic, events)?;
        let mut world = self.seat.look();
        for event in events {
            assert_eq!(topic, topic_of(&event_of(event)), "seq {} is parked under another topic", event.seq);
            assert!(!world.book.is_ended(event.seq), "seq {} is parked although it is at its end", event.seq);
            world.trace.note("parked", &[event.seq]);
            world.parked += 1;
        }
        Ok(())
    }

    fn parked_come_first(&self) -> bool {
        self.reader.parked_come_first()
    }
}

impl<S: ParkedSource> ParkedSource for Watched<S> {
    fn topics(&self) -> Vec<Arc<str>> {
        self.reader.topics()
    }

    fn turn_to(&mut self, topic: &Arc<str>) {
        self.seat.look().trace.note("turn to", &[number_of(topic)]);
        self.reader.turn_to(topic);
    }

    fn release(&mut self) -> bool {
        let released = self.reader.release();
        self.seat.look().trace.note("release", &[u64::from(released)]);
        released
    }

    fn wait_for_topics(&self, timeout: Duration) {
        assert!(!timeout.is_zero(), "a line with nothing to do does not sleep");
        self.seat.pass(timeout);
    }
}

fn event_of(parked: &ParkedEvent) -> EventRef<'_> {
    Records::new(&parked.record)
        .next()
        .and_then(Result::ok)
        .unwrap_or_else(|| panic!("the parked event of seq {} does not decode", parked.seq))
}

/// Each partition of the simulated Kafka is also a topic.
fn topic_of(event: &EventRef<'_>) -> String {
    let source = event.source_id.strip_prefix('s').and_then(|source| source.parse().ok());
    format!("t{}", partition_of(source.unwrap_or_else(|| panic!("a source that nobody posted: {event:?}"))))
}

fn number_of(topic: &str) -> u64 {
    topic.strip_prefix('t').and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no topic: {topic:?}"))
}

/// Time that passes only while somebody waits.
pub struct SimulatedTime(pub Seat);

impl Clock for SimulatedTime {
    fn now(&self) -> Instant {
        self.0.look().now
    }

    fn unix_ms(&self) -> u64 {
        1_700_000_000_000 + self.0.look().now_ms()
    }

    /// In pieces, so that others get more than one turn; ends early when the drain is told to finish.
    fn pause(&self, _stop: &DrainStop, duration: Duration) {
        let before = self.0.look().stop_sending;
        for _ in 0..4 {
            let left = before.map_or(duration, |at| at.saturating_duration_since(self.0.look().now));
            self.0.pass((duration / 4).min(left));
            if self.0.look().stop_sending != before {
                return;
            }
        }
    }
}

/// Makes handles on the simulated Kafka.
pub struct Handles(pub Seat);

impl SinkFactory for Handles {
    type Sink = Handle;

    fn connect(&mut self) -> Result<Handle, Refusal> {
        let mut world = self.0.look();
        let fault = world.style.fault;
        let (kafka, mut around) = world.kafka();
        if kafka.fault(around.chance, fault * 2) {
            return Err(Refusal::new(Code::CriticalSystemResource, "no threads"));
        }
        kafka.connect(self.0.line, &mut around);
        world.looks_back[self.0.line] = false;
        world.book.found_before[self.0.line].clear();
        Ok(Handle(self.0.clone()))
    }

    fn halve_batches(&mut self) -> u64 {
        let kafka = &mut self.0.look().kafka;
        kafka.batch_events = (kafka.batch_events / 2).max(1);
        kafka.batch_events as u64
    }

    fn topic_of(&mut self, event: &EventRef<'_>, name: &mut String) {
        name.clone_from(&topic_of(event));
    }

    fn reconciles(&self) -> bool {
        self.0.look().style.looks.is_some()
    }

    fn own_records(&mut self, wanted: &Wanted, keep_going: &mut dyn FnMut(Option<Refusal>) -> bool) -> Result<Tail, String> {
        let [above, up_to] = [wanted.above.0, wanted.up_to.0];
        loop {
            if !keep_going(None) {
                // Nothing was sent, and nothing will be in this life: the next one has to look.
                self.0.look().trace.note("look stopped", &[above, up_to]);
                return Err("told to stop".to_owned());
            }
            self.0.pass(SLICE);
            let mut world = self.0.look();
            if world.is_blind() {
                world.trace.note("look failed", &[above, up_to]);
                world.book.excuse();
                return Err("no right to read".to_owned());
            }
            let (kafka, mut around) = world.kafka();
            if kafka.settles(&mut around) {
                break;
            }
        }
        let mut world = self.0.look();
        let mut found = world.kafka.records(wanted.above, wanted.up_to);
        let cut_short = world.is_blind().then_some("time is up");
        if cut_short.is_some() {
            found.truncate(world.chance.index(found.len() + 1));
            world.book.excuse();
        } else {
            world.looks += 1;
            // What was found is in doubt until it is booked: the relay may die before.
            world.book.in_doubt.retain(|seq| found.iter().any(|found| found.seq.0 == *seq));
        }
        world.trace.note("looked", &[above, up_to, found.len() as u64]);
        let seqs = found.iter().map(|found| found.seq.0);
        world.kafka.confirmed.extend(seqs.clone());
        if std::mem::take(&mut world.looks_back[self.0.line]) {
            world.book.found_before[self.0.line].extend(seqs);
        }
        Ok(Tail { found, cut_short })
    }
}

/// The handle that there is.
pub struct Handle(Seat);

impl Sink for Handle {
    fn send(&mut self, event: &EventRef<'_>, seq: Seq, accepted_ms: u64) -> SendOutcome {
        let mut world = self.0.look();
        assert!(!world.stop.paused(), "seq {seq} is sent although an operator has paused the drain");
        let number = world.book.recognise(event);
        world.book.sending(seq.0, number);
        let fault = world.style.fault;
        let (kafka, around) = world.kafka();
        let handle = kafka.handle[self.0.line].as_ref().expect("a handle");
        assert!(handle.dead.is_some() || !handle.gave_up, "G3: seq {seq} is sent with a handle that gave up events");
        assert!(handle.last_sent < seq.0, "G3: seq {seq} is sent after {} with the same handle", handle.last_sent);
        if let Some(refusal) = handle.refusal() {
            return SendOutcome::Refused(refusal);
        }
        let posted = around.book.of(number);
        if posted.poison == Some(Poison::Local) && !kafka.lenient {
            around.trace.note("refused at once", &[seq.0]);
            return SendOutcome::Refused(Refusal::new(Code::MessageSizeTooLarge, "larger than any batch"));
        }
        if kafka.fault(around.chance, fault * 4) {
            around.trace.note("not taken", &[seq.0]);
            return SendOutcome::Refused(Refusal::new(Code::Unknown, "for now"));
        }
        if kafka.fault(around.chance, fault) {
            return SendOutcome::Full;
        }
        around.trace.note("send", &[handle.id, seq.0, number]);
        let source = posted.source;
        kafka.queue(self.0.line, Record { seq: seq.0, number, source, accepted_ms });
        SendOutcome::Sent
    }

    fn poll(&mut self, timeout: Duration, reports: &mut Vec<Report>) {
        self.0.pass(timeout);
        let mut world = self.0.look();
        let (kafka, mut around) = world.kafka();
        kafka.work(self.0.line, &mut around);
        kafka.reports(self.0.line, around.trace, reports);
    }

    fn connected(&self) -> bool {
        let world = self.0.look();
        !world.kafka.is_down(world.now)
    }

    fn fatal(&self) -> Option<Refusal> {
        self.0.look().kafka.handle[self.0.line].as_ref().and_then(super::kafka::Handle::refusal)
    }

    fn take_trouble(&mut self) -> Option<Refusal> {
        self.0.look().kafka.trouble.take().map(|code| Refusal::new(code, "trouble"))
    }

    fn purge(&mut self, scope: Purge) {
        self.0.look().kafka.purge(self.0.line, scope);
    }

    fn discard(self) {
        let mut world = self.0.look();
        let (kafka, mut around) = world.kafka();
        kafka.handle_gone(self.0.line, &mut around);
    }
}
