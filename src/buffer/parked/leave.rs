//! Events on their way out of the log: what the main drain asks of what is parked.

use super::super::reader::Reader;
use super::super::shared::lock;
use super::{ParkError, ParkedEvent};

impl Reader {
    /// Says what `kafka.topic` is: events parked under another one go first. Before anything is parked.
    pub fn parking(&self, template: &str) {
        self.shared().parked.set_template(template);
    }

    /// Whether any topic is parked: one load.
    pub fn parks(&self) -> bool {
        self.shared().parked.any()
    }

    /// Whether events of this topic are parked instead of being sent.
    pub fn is_parked(&self, topic: &str) -> bool {
        self.shared().parked.is_parked(topic)
    }

    /// From now on events of this topic are parked, until the parked line releases it; `false` when no further topic can be.
    pub fn park_topic(&mut self, topic: &str) -> bool {
        self.shared().parked.park_topic(topic)
    }

    /// Whether events are left that were parked under another `kafka.topic`.
    pub fn parked_come_first(&self) -> bool {
        self.shared().parked.any() && self.shared().parked.holds_other_templates()
    }

    /// Parks events of one topic, in seq order: they are durable in its files, and then leave the log, still waiting. Those that have left it already are
    /// passed over. Blocks for syncs.
    ///
    /// # Errors
    /// [`ParkError`]. When there is no room, nothing has changed; after another error a first part may be parked ([`Reader::is_acked`] tells).
    pub fn park(&mut self, topic: &str, events: &[ParkedEvent]) -> Result<(), ParkError> {
        let shared = self.shared_handle();
        let in_log = || -> Vec<ParkedEvent> {
            let marks = lock(&shared.marks);
            events.iter().filter(|event| !marks.watermark.ended(event.seq)).cloned().collect()
        };
        let mut highest = 0;
        let kept = shared.parked.keep(topic, &in_log, &mut |seqs| {
            highest = seqs.iter().copied().fold(highest, u64::max);
            lock(&shared.marks).park(seqs);
        });
        self.left_log(highest);
        // What left the log may free a segment for those who wait for room.
        if highest > 0 && !lock(&shared.queue).waiters.is_empty() {
            shared.poke_keeper();
        }
        kept
    }
}
