use super::*;

fn place(offset: i64) -> Place {
    Place { topic: "events".into(), partition: 2, offset }
}

fn stored(limit: usize, events: u32) -> History {
    let history = History::of(limit);
    history.stored([(Seq(1), events, 1000)].into_iter());
    history
}

fn stage(history: &History, seq: u64) -> Option<Stage> {
    history.get(Seq(seq)).map(|fate| fate.stage)
}

// Goal: an event can be followed from the disk to Kafka to Redis, with the times.
#[test]
fn the_way_of_an_event() {
    let history = stored(10, 3);
    assert_eq!(history.get(Seq(2)), Some(Fate { accepted_ms: Some(1000), stage: Stage::Buffered, notified_ms: None }));
    let at = place(7);
    history.acked([(Seq(2), &at)].into_iter(), 1250);
    history.notified([Seq(2)].into_iter(), 1251);
    let stage = Stage::Acked { place: Some(at), at_ms: Some(1250) };
    assert_eq!(history.get(Seq(2)), Some(Fate { accepted_ms: Some(1000), stage, notified_ms: Some(1251) }));
    history.dead(Seq(3), "too large", 1300);
    assert_eq!(history.get(Seq(3)).unwrap().stage, Stage::Dead { reason: "too large".into(), at_ms: 1300 });
    assert_eq!(history.get(Seq(4)), None);
}

// Goal: memory does not grow with the events that come; the newest are remembered.
#[test]
fn the_oldest_go() {
    let history = stored(100, 10_000);
    assert_eq!((stage(&history, 9_900), stage(&history, 9_901)), (None, Some(Stage::Buffered)));
    assert!(history.ring().slots.capacity() <= 256);
    history.acked([(Seq(5), &place(1))].into_iter(), 1);
    let off = History::default();
    off.stored([(Seq(1), 5, 1)].into_iter());
    assert_eq!(off.get(Seq(1)), None);
}

// Goal: after a restart nothing is made up: what is at its end was acknowledged if nothing else ever happened, and where is not known.
#[test]
fn after_a_restart() {
    let history = History::of(10);
    history.restore(Seq(5), [true, false].into_iter(), true, 9000);
    assert_eq!(stage(&history, 5), Some(Stage::Acked { place: None, at_ms: None }));
    assert_eq!(history.get(Seq(6)).unwrap(), Fate { accepted_ms: None, stage: Stage::Buffered, notified_ms: None });
    let at = place(3);
    history.acked([(Seq(6), &at)].into_iter(), 9100);
    assert_eq!(stage(&history, 6), Some(Stage::Acked { place: Some(at), at_ms: Some(9100) }));
    let history = History::of(10);
    history.restore(Seq(5), [true, false].into_iter(), false, 9000);
    assert_eq!(stage(&history, 5), Some(Stage::Ended));
    history.stored([(Seq(7), 1, 9500)].into_iter());
    assert_eq!(history.get(Seq(7)).unwrap().accepted_ms, Some(9500));
}

// Goal: what was purged or lost says so; what Kafka has stays what it is.
#[test]
fn given_up() {
    let history = stored(10, 4);
    history.acked([(Seq(2), &place(7))].into_iter(), 1250);
    history.purged(&[(1, 3)]);
    history.lost(&[(4, 400)]);
    assert_eq!(stage(&history, 1), Some(Stage::Purged));
    assert!(matches!(stage(&history, 2), Some(Stage::Acked { .. })));
    assert_eq!(stage(&history, 4), Some(Stage::Lost));
}

// Goal: who repeats an event and waits for Kafka hears where the first one is as soon as that is known, and at once when it never will be.
#[tokio::test(start_paused = true)]
async fn receipts_of_repeats() {
    let history = stored(10, 4);
    let first = place(7);
    history.acked([(Seq(1), &first)].into_iter(), 1250);
    assert_eq!(history.receipts(&[Seq(1)]).await, Some(vec![Receipt { seq: Seq(1), place: first.clone() }]));
    let second = place(8);
    let waited = async {
        tokio::task::yield_now().await;
        history.acked([(Seq(3), &place(1))].into_iter(), 1251);
        tokio::task::yield_now().await;
        history.acked([(Seq(2), &second)].into_iter(), 1252);
    };
    let (receipts, ()) = tokio::join!(history.receipts(&[Seq(2), Seq(1)]), waited);
    assert_eq!(receipts, Some(vec![Receipt { seq: Seq(2), place: second.clone() }, Receipt { seq: Seq(1), place: first }]));
    let given_up = async { history.purged(&[(4, 4)]) };
    let (receipts, ()) = tokio::join!(history.receipts(&[Seq(4)]), given_up);
    assert_eq!(receipts, None);
    assert_eq!(history.receipts(&[Seq(100)]).await, None);
    assert_eq!(history.waiting.load(Ordering::Relaxed), 0);
}
