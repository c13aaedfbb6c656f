//! Events that Kafka will never take, among events that it takes.

use super::*;

impl Run {
    /// Every event is in Kafka or a dead letter, in order; only what is poison is dead.
    fn check_only_poison_is_dead(&self, poison: &[u64]) {
        let world = look(&self.world);
        let dead: Vec<u64> = world.dead.iter().map(|letter| letter.seq).collect();
        assert_eq!(dead, poison, "dead letters, in order");
        assert_eq!(world.booked.iter().copied().collect::<Vec<_>>(), self.seqs, "everything is at its end");
        for (partition, log) in world.log.iter().enumerate() {
            let mut seen: Vec<u64> = Vec::new();
            for seq in log {
                if seen.last().is_none_or(|last| last < seq) {
                    seen.push(*seq);
                }
            }
            let wanted = |seq: &u64| partition_of(*seq) == partition && !poison.contains(seq);
            assert_eq!(seen, self.seqs.iter().copied().filter(wanted).collect::<Vec<_>>(), "partition {partition}");
        }
        for letter in &world.dead {
            assert!(world.refused_alone[&letter.seq] >= 2, "{} was given up after {:?}", letter.seq, world.refused_alone);
            assert!(letter.cause.attempts >= 2 && letter.cause.text.contains(&format!("event {}", letter.seq)), "{:?}", letter.cause);
            assert_eq!(letter.cause.reason, "invalid_record");
        }
        assert_eq!(self.stats.dead_letters.iter().map(Counter::get).sum::<u64>() as usize, poison.len());
        assert_eq!(world.notified.len(), self.seqs.len() - poison.len(), "a dead letter is not told of");
        assert_eq!((self.report.left, self.report.in_doubt), (0, 0));
    }
}

// Goal: events that Kafka will never take are set aside with the reason, however many there are and wherever they stand; all others arrive, in
// order per source, whatever else goes wrong meanwhile.
#[test]
fn only_poison_is_set_aside_and_nothing_is_overtaken() {
    for seed in 0..200 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut poison: Vec<u64> = (0..rng.usize(0..8)).map(|_| rng.u64(1..400)).collect();
        if seed % 10 == 0 {
            poison.extend(100..110);
        }
        let world_seqs = run(seed, 400, Faults::default()).seqs;
        poison.retain(|seq| world_seqs.contains(seq));
        poison.sort_unstable();
        poison.dedup();
        // Faults that pass, but none that could be taken for poison.
        let deaf_handles = usize::from(seed % 3 == 0);
        let done = run(seed, 400, Faults { poison: poison.clone(), deaf_handles, ..Faults::default() });
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| done.check_only_poison_is_dead(&poison)));
        assert!(checked.is_ok(), "seed {seed}");
    }
}

// Goal: a topic whose limit is below what a batch may grow to loses nothing and sets nothing aside: batches get smaller.
#[test]
fn batches_that_are_too_large_get_smaller() {
    for seed in 0..40 {
        let done = run(seed, 400, Faults { batch_limit: Some(3), ..Faults::default() });
        done.check_all_delivered();
        let world = look(&done.world);
        assert!(world.dead.is_empty() && world.batch_events < 64, "{}", world.batch_events);
    }
}

// Goal: while there is no room for a dead letter the line waits and says so; then it goes on.
#[test]
fn a_dead_letter_that_cannot_be_kept_blocks() {
    let done = run(4, 50, Faults { poison: vec![21], letters_full: 3, ..Faults::default() });
    let poison: Vec<u64> = done.seqs.iter().copied().filter(|seq| *seq == 21).collect();
    assert_eq!(poison, [21], "the seed has that event");
    done.check_only_poison_is_dead(&poison);
    let blocked = done.blocked_for();
    assert_eq!(blocked.len(), 3, "{blocked:?}");
    assert!(blocked.iter().all(|(reason, detail)| *reason == "dead_letters_full" && detail.contains("purge")), "{blocked:?}");
}

// Goal: an operator sees that a search is on, and for what.
#[test]
fn the_search_is_on_show() {
    let done = run(5, 200, Faults { poison: vec![150], ..Faults::default() });
    let seen = look(&done.world).seen.clone();
    let words = seen.iter().filter_map(|state| if let DrainState::Isolating { reason } = state { Some(reason.as_str()) } else { None });
    assert!(words.clone().count() > 0 && words.clone().all(|words| words.contains("among seq")), "{seen:?}");
    assert_eq!(look(&done.world).last_shown, DrainState::Running);
}
