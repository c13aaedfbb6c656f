//! How a group's writers learn that it is durable: the committer answers one of them, and that one, on its own thread, all others.
//!
//! Answering wakes a task, which costs the committer a few microseconds each, and often a system call, while the disk has nothing to
//! do. A task that runs already wakes its neighbours for next to nothing, while the next group is on its way to the disk.
//! Invariant: whatever becomes of the chosen one (it may be gone, or go before it looks), everybody is answered.

use super::Appended;
use super::error::AppendError;
use super::shared::Submission;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::oneshot;

/// Tells one writer what became of its batch.
#[derive(Debug)]
pub(crate) struct Reply(oneshot::Sender<Message>);

/// What a writer is told.
#[derive(Debug)]
pub(crate) enum Told {
    /// What became of its batch.
    Done(Result<Appended, AppendError>),
    /// Somebody else's batch held the same event, and was admitted first: nothing of this one is stored, it is to be looked at again.
    Again(Submission),
}

/// What a writer awaits; resolves to `None` when the committer went away without an answer.
#[derive(Debug)]
pub(crate) struct Answer(oneshot::Receiver<Message>);

#[derive(Debug)]
struct Message {
    told: Told,
    others: Others,
}

/// Answers that are yet to be given, the last one first; dropping gives them, in order.
#[derive(Debug, Default)]
struct Others(Vec<(Reply, Appended)>);

impl Drop for Others {
    fn drop(&mut self) {
        for (reply, appended) in self.0.drain(..).rev() {
            reply.send(Ok(appended));
        }
    }
}

/// A reply and its answer.
pub(crate) fn reply() -> (Reply, Answer) {
    let (sender, receiver) = oneshot::channel();
    (Reply(sender), Answer(receiver))
}

impl Reply {
    /// Answers. A writer that hung up has its batch stored all the same.
    pub(crate) fn send(self, result: Result<Appended, AppendError>) {
        drop(self.0.send(Message { told: Told::Done(result), others: Others::default() }));
    }

    /// Gives a batch that waited for room back, not stored.
    pub(crate) fn give_back(self, submission: Submission) {
        drop(self.0.send(Message { told: Told::Again(submission), others: Others::default() }));
    }
}

/// Answers a whole group, through the first writer that is still there.
pub(crate) fn send_all(mut group: Vec<(Reply, Appended)>) {
    group.reverse();
    let mut others = Others(group);
    while let Some((Reply(first), appended)) = others.0.pop() {
        match first.send(Message { told: Told::Done(Ok(appended)), others }) {
            Ok(()) => return,
            Err(unsent) => others = unsent.others,
        }
    }
}

impl Future for Answer {
    type Output = Option<Told>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|message| {
            let Message { told, others } = message.ok()?;
            drop(others);
            Some(told)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Seq;

    fn group(count: u64) -> (Vec<(Reply, Appended)>, Vec<Answer>) {
        let appended = |seq| Appended { first_seq: Seq(seq), count: 1, durable: true, repeats: Vec::new() };
        let pair = |seq| {
            let (reply, answer) = reply();
            ((reply, appended(seq)), answer)
        };
        (1..=count).map(pair).unzip()
    }

    async fn seqs(answers: Vec<Answer>) -> Vec<u64> {
        let mut seqs = Vec::new();
        for answer in answers {
            let Some(Told::Done(Ok(appended))) = answer.await else { panic!("no answer") };
            seqs.push(appended.first_seq.0);
        }
        seqs
    }

    // Goal: every writer of a group gets its own answer.
    #[tokio::test]
    async fn answers_everybody() {
        let (replies, answers) = group(9);
        send_all(replies);
        assert_eq!(seqs(answers).await, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    }

    // Goal: a client that hangs up, before or just after it was chosen to tell the others, leaves nobody without an answer.
    #[tokio::test]
    async fn hanging_up_costs_the_others_nothing() {
        let (replies, mut answers) = group(9);
        drop(answers.remove(0));
        send_all(replies);
        drop(answers.remove(0));
        assert_eq!(seqs(answers).await, [3, 4, 5, 6, 7, 8, 9]);
    }

    // Goal: a committer that ends without an answer does not leave its writers waiting.
    #[tokio::test]
    async fn no_answer_is_noticed() {
        let (reply, answer) = reply();
        drop(reply);
        assert!(answer.await.is_none());
    }
}
