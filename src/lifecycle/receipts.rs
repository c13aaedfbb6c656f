//! Requests that wait for Kafka's ack (`ack=kafka`): registered by the buffer when it gives out seqs, completed by the drain.
//!
//! Invariant: a waiter is registered before its events can be leased, so an ack never comes too early to be seen.
//! Bounded by the number of requests in flight; a request that gave up leaves an entry that its acks, or another end of its events, remove.

use super::History;
use crate::event::{Place, Seq};
use crate::sync::{AtomicU64, Mutex, Ordering};
use std::collections::BTreeMap;
use std::sync::PoisonError;
use tokio::sync::oneshot;

/// One event's delivery, as Kafka confirmed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The event.
    pub seq: Seq,
    /// Where Kafka put it.
    pub place: Place,
}

/// Resolves to the receipts of a whole request, in seq order.
pub type ReceiptWaiter = oneshot::Receiver<Vec<Receipt>>;

#[derive(Debug)]
struct Pending {
    count: usize,
    receipts: Vec<Receipt>,
    reply: oneshot::Sender<Vec<Receipt>>,
}

/// All requests that wait for Kafka, and what became of the newest events.
#[derive(Debug, Default)]
pub struct AckWaiters {
    history: History,
    /// Number of entries, so that the drain pays one load per ack when nobody waits.
    waiting: AtomicU64,
    pending: Mutex<BTreeMap<u64, Pending>>,
}

impl AckWaiters {
    /// With a history of the newest `events`: in so many a repeated id is known.
    pub fn remembering(events: usize) -> Self {
        Self { history: History::of(events), ..Self::default() }
    }

    /// What became of the newest events.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Registers a request whose `count` events start at `first`.
    pub fn register(&self, first: Seq, count: u32, reply: oneshot::Sender<Vec<Receipt>>) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = pending.insert(first.0, Pending { count: count as usize, receipts: Vec::new(), reply });
        self.waiting.store(pending.len() as u64, Ordering::Release);
    }

    /// Whether anybody waits: a cheap check before building a [`Receipt`].
    pub fn any(&self) -> bool {
        self.waiting.load(Ordering::Acquire) > 0
    }

    /// Tells that an operator gave up the events of ascending, inclusive ranges.
    pub fn purged(&self, ranges: &[(u64, u64)]) {
        self.history.purged(ranges);
        self.let_go(ranges);
    }

    /// Tells that the events of ascending, inclusive ranges rotted on disk.
    pub fn lost(&self, ranges: &[(u64, u64)]) {
        self.history.lost(ranges);
        self.let_go(ranges);
    }

    /// Tells that Kafka will never take an event, why, and since when (Unix milliseconds).
    pub fn dead(&self, seq: Seq, reason: &str, at_ms: u64) {
        self.history.dead(seq, reason, at_ms);
        self.let_go(&[(seq.0, seq.0)]);
    }

    /// Whoever waits for one of these need not wait any longer.
    fn let_go(&self, ranges: &[(u64, u64)]) {
        if !self.any() {
            return;
        }
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.retain(|first, entry| {
            let next = ranges.partition_point(|(_, to)| to < first);
            ranges.get(next).is_none_or(|(from, _)| *from >= first + entry.count as u64)
        });
        self.waiting.store(pending.len() as u64, Ordering::Release);
    }

    /// Tells that Kafka has an event. The last one of a request answers it.
    pub fn acked(&self, receipt: Receipt) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((&first, entry)) = pending.range_mut(..=receipt.seq.0).next_back() else { return };
        if receipt.seq.0 >= first + entry.count as u64 {
            return;
        }
        entry.receipts.push(receipt);
        if entry.receipts.len() == entry.count
            && let Some(mut done) = pending.remove(&first)
        {
            self.waiting.store(pending.len() as u64, Ordering::Release);
            drop(pending);
            done.receipts.sort_unstable_by_key(|receipt| receipt.seq);
            // The request may have given up waiting; its events are delivered all the same.
            drop(done.reply.send(done.receipts));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: nobody waits for Kafka's word about an event that an operator has purged, that is lost, or that Kafka will never take, and nothing remembers the request for ever.
    #[test]
    fn nobody_waits_for_what_was_given_up() {
        let waiters = AckWaiters::default();
        let mut requests: Vec<ReceiptWaiter> = Vec::new();
        for first in [1, 4, 7] {
            let (reply, waiter) = oneshot::channel();
            waiters.register(Seq(first), 3, reply);
            requests.push(waiter);
        }
        waiters.purged(&[(3, 3), (8, 100)]);
        let over = requests.iter_mut().map(|waiter| waiter.try_recv() == Err(oneshot::error::TryRecvError::Closed)).collect::<Vec<_>>();
        assert_eq!(over, [true, false, true]);
        assert!(waiters.any());
        waiters.dead(Seq(5), "too_large", 1000);
        assert!(!waiters.any());
        let (reply, mut waiter) = oneshot::channel();
        waiters.register(Seq(10), 3, reply);
        waiters.lost(&[(1, 9), (13, 100)]);
        assert_eq!(waiter.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        waiters.lost(&[(1, 9), (12, 12), (14, 20)]);
        assert!(!waiters.any());
    }
}
