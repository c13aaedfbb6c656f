//! Requests that wait for Kafka's ack (`ack=kafka`): registered by the buffer when it gives out seqs, completed by the drain.
//!
//! Invariant: a waiter is registered before its events can be leased, so an ack never comes too early to be seen.
//! Bounded by the number of requests in flight; a request that gave up leaves an entry that its acks remove.

use crate::event::{Place, Seq};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
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

/// All requests that wait for Kafka.
#[derive(Debug, Default)]
pub struct AckWaiters {
    /// Number of entries, so that the drain pays one load per ack when nobody waits.
    waiting: AtomicUsize,
    pending: Mutex<BTreeMap<u64, Pending>>,
}

impl AckWaiters {
    /// Registers a request whose `count` events start at `first`.
    pub fn register(&self, first: Seq, count: u32, reply: oneshot::Sender<Vec<Receipt>>) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = pending.insert(first.0, Pending { count: count as usize, receipts: Vec::new(), reply });
        self.waiting.store(pending.len(), Ordering::Release);
    }

    /// Whether anybody waits: a cheap check before building a [`Receipt`].
    pub fn any(&self) -> bool {
        self.waiting.load(Ordering::Acquire) > 0
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
            self.waiting.store(pending.len(), Ordering::Release);
            drop(pending);
            done.receipts.sort_unstable_by_key(|receipt| receipt.seq);
            // The request may have given up waiting; its events are delivered all the same.
            drop(done.reply.send(done.receipts));
        }
    }
}
