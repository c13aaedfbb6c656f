//! What a transaction does at its edges. Whole runs are in `simulated/transactions.rs`.

use super::super::clock::SystemClock;
use super::*;

/// A handle whose queue is full, or that takes everything; it counts what is asked of it.
#[derive(Debug, Default)]
struct Counting {
    takes: bool,
    opened: usize,
    cursors: Vec<Committed>,
    commits: usize,
    ready: Vec<Report>,
}

impl Sink for Counting {
    fn send(&mut self, _: &EventRef<'_>, seq: Seq, _: u64) -> SendOutcome {
        if !self.takes {
            return SendOutcome::Full;
        }
        self.ready.push(Report { seq, result: Ok(Place { topic: "t".into(), partition: 0, offset: 0 }) });
        SendOutcome::Sent
    }

    fn poll(&mut self, _: Duration, reports: &mut Vec<Report>) {
        reports.append(&mut self.ready);
    }

    fn connected(&self) -> bool {
        true
    }

    fn fatal(&self) -> Option<Refusal> {
        None
    }

    fn take_trouble(&mut self) -> Option<Refusal> {
        None
    }

    fn purge(&mut self, _: Purge) {}

    fn discard(self) {}
}

impl Transactions for Counting {
    fn initialise(&mut self) -> Progress {
        Progress::Done
    }

    fn committed(&mut self, _: &Known, _: KeepGoing<'_>) -> Result<Option<Committed>, Refusal> {
        Ok(None)
    }

    fn open(&mut self) -> Result<(), Refusal> {
        self.opened += 1;
        Ok(())
    }

    fn send_cursor(&mut self, cursor: &Committed) -> SendOutcome {
        self.cursors.push(cursor.clone());
        self.ready.push(Report { seq: CURSOR, result: Ok(Place { topic: "cursors".into(), partition: 0, offset: 0 }) });
        SendOutcome::Sent
    }

    fn commit(&mut self) -> Progress {
        self.commits += 1;
        Progress::Done
    }
}

// Goal: a transaction whose first event is not taken writes no cursor, since there is no event that it could name; when the event is taken, the cursor names
// it and nothing else.
#[test]
fn an_empty_transaction_writes_no_cursor() {
    let mut sink = Transactional::new(Counting::default(), SystemClock, Duration::ZERO, Size::default());
    let event = EventRef { id: "e7", kind: "made", source_type: "user", source_id: "s", traceparent: None, value: b"{}" };
    let mut reports = Vec::new();
    for _ in 0..3 {
        assert_eq!(sink.send(&event, Seq(7), 1_000), SendOutcome::Full);
        sink.flush();
        sink.poll(Duration::ZERO, &mut reports);
    }
    assert_eq!((sink.handle.opened, sink.handle.cursors.len(), sink.handle.commits), (1, 0, 0));
    sink.handle.takes = true;
    assert_eq!(sink.send(&event, Seq(7), 1_000), SendOutcome::Sent);
    for _ in 0..5 {
        sink.flush();
        sink.poll(Duration::ZERO, &mut reports);
    }
    assert_eq!(sink.handle.cursors, [Committed { seq: Seq(7), id: "e7".into(), accepted_ms: 1_000 }]);
    assert_eq!((sink.handle.commits, reports.len(), reports[0].seq), (1, 1, Seq(7)));
}
