//! Order, loss and patience, whatever Kafka does.

use super::*;

// Goal: whatever Kafka does, in whatever order, nothing is lost, order per source holds, nothing is told before its ack.
#[test]
fn nothing_is_lost_or_overtaken_whatever_kafka_does() {
    for seed in 0..300 {
        let random = [0, 2, 20, 80][seed as usize % 4];
        let faults = Faults { random, on_rejected: OnRejected::Block, ..Faults::default() };
        let done = std::panic::catch_unwind(|| run(seed, 400, faults).check_all_delivered());
        assert!(done.is_ok(), "seed {seed}");
    }
}

// Goal: an error that nobody has heard of stops the line at its event until Kafka takes it; it is never skipped.
#[test]
fn an_unknown_error_stops_the_line_and_is_retried() {
    let done = run(1, 50, Faults { refuse: Some((20, 40, Code::Unknown)), ..Faults::default() });
    done.check_all_delivered();
    assert_eq!(done.stats.retries[1].get(), 40, "transient");
    assert!(look(&done.world).seen.iter().all(|state| matches!(state, DrainState::Recovering { .. })));
    assert_eq!(look(&done.world).last_shown, DrainState::Running, "the trouble is over once Kafka took the event");
    assert!(done.took > Duration::from_secs(180), "with growing delays: {:?}", done.took);
    let (_, text) = done.stats.last_error.lock().unwrap().clone().unwrap();
    assert!(text.contains("event 20 (id \"id-20\", user:k"), "{text}");
}

// Goal: an event that Kafka will not take blocks the line, and the operator is told which one and why.
#[test]
fn a_rejected_event_blocks_and_is_named() {
    for (code, reason, faults) in [
        (Code::MessageSizeTooLarge, "rejected", Faults { refuse: Some((7, 3, Code::MessageSizeTooLarge)), ..Faults::default() }),
        (Code::InvalidRecord, "rejected", Faults { bounce: Some((7, 3, Code::InvalidRecord)), ..Faults::default() }),
        (Code::UnknownTopic, "unknown_topic", Faults { refuse: Some((7, 3, Code::UnknownTopic)), ..Faults::default() }),
    ] {
        let done = run(3, 7, Faults { on_rejected: OnRejected::Block, ..faults });
        done.check_all_delivered();
        let blocked = done.blocked_for();
        assert_eq!(blocked.len(), 3, "{code:?}");
        for (shown, detail) in blocked {
            assert_eq!(shown, reason);
            assert!(detail.contains("event ") && detail.contains(&format!("{code:?}")), "{detail}");
        }
        assert_eq!(*done.stats.state.lock().unwrap(), DrainState::Stopped);
    }
}

// Goal: a handle that stands still although Kafka is there is replaced, without an operator.
#[test]
fn a_handle_that_stands_still_is_replaced() {
    let done = run(5, 100, Faults { deaf_handles: 2, ..Faults::default() });
    done.check_all_delivered();
    assert_eq!(done.stats.retries[4].get(), 2, "stalled");
    assert!(done.took > Duration::from_secs(360), "2 and then 4 minutes: {:?}", done.took);
}

// Goal: a disk that cannot be read stops the line and says so; nothing is skipped when it can be read again.
#[test]
fn an_unreadable_buffer_blocks() {
    let done = run(6, 100, Faults { bad_reads: 4, ..Faults::default() });
    done.check_all_delivered();
    let blocked = done.blocked_for();
    assert_eq!(blocked.len(), 4);
    assert!(blocked.iter().all(|(reason, detail)| *reason == "unreadable" && detail.contains("segment")), "{blocked:?}");
}

// Goal: when Kafka is away at shutdown, the drain returns at its deadline and says what stays behind.
#[test]
fn the_deadline_holds_while_kafka_is_away() {
    let done = run_for(8, 100, Faults { deaf_handles: 1, ..Faults::default() }, Duration::from_secs(20));
    assert!(done.took <= Duration::from_millis(20_100), "{:?}", done.took);
    assert_eq!(done.report.acked, 0);
    assert!(done.report.left >= 100);
    assert!(done.report.in_doubt > 0 && done.report.in_doubt <= 8, "two batches a partition were on their way: {:?}", done.report);
    assert!(look(&done.world).booked.is_empty());
}

// Goal: a deadline that has passed already ends the drain at once, with everything still in the buffer.
#[test]
fn no_time_means_nothing_is_sent() {
    let done = run_for(9, 10, Faults::default(), Duration::ZERO);
    assert_eq!((done.took, done.report.acked, done.report.in_doubt), (Duration::ZERO, 0, 0));
    assert_eq!(look(&done.world).handles, 0);
}
