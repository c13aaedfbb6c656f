use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn fingerprint(id: u8, body: u8) -> Fingerprint {
    Fingerprint { id: u128::from(id) << 64 | 1, body: u64::from(body) }
}

fn window(limit: u64) -> Window {
    Window::new(limit, VecDeque::new(), 0)
}

/// The window as one would write it without a thought of its cost.
#[derive(Default)]
struct Model {
    /// By seq.
    admitted: BTreeMap<u64, Fingerprint>,
    durable: u64,
    next: u64,
}

impl Model {
    fn seen(&self, request: &[Fingerprint]) -> Vec<(usize, Original, bool)> {
        let mut seen = Vec::new();
        for (position, wanted) in request.iter().enumerate() {
            let before =
                self.admitted.iter().find(|(_, known)| known.id == wanted.id).map(|(seq, known)| (Original::Before(Seq(*seq)), *known));
            let here = request[..position].iter().position(|known| known.id == wanted.id).map(|at| (Original::Here(at), request[at]));
            if let Some((original, known)) = before.or(here) {
                seen.push((position, original, known.body == wanted.body));
            }
        }
        seen
    }
}

#[derive(Clone, Debug)]
enum Op {
    Claim(Vec<(u8, u8)>),
    Sync(u64),
    Refuse,
    Forget(u64, u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => prop::collection::vec((0_u8..40, 0_u8..2), 1..8).prop_map(Op::Claim),
        4 => (1_u64..20).prop_map(Op::Sync),
        1 => Just(Op::Refuse),
        1 => (0_u64..60, 0_u64..4).prop_map(|(from, more)| Op::Forget(from, from + more)),
    ]
}

proptest! {
    // Goal: each of the newest events is known, with the seq it got, and none that was refused, lost, or is too old; whatever comes in
    // which order.
    #[test]
    fn is_the_plain_list(limit in 1_u64..30, ops in prop::collection::vec(op(), 1..120)) {
        let (mut window, mut model) = (window(limit), Model { next: 1, ..Model::default() });
        for op in ops {
            match op {
                Op::Claim(request) => {
                    let request: Vec<_> = request.into_iter().map(|(id, body)| fingerprint(id, body)).collect();
                    let expected = model.seen(&request);
                    let before: Vec<_> = window.look(&request).iter().map(|seen| (seen.position, seen.original, seen.same_body)).collect();
                    let expected_before: Vec<_> =
                        expected.iter().filter(|(_, original, _)| matches!(original, Original::Before(_))).copied().collect();
                    prop_assert_eq!(before, expected_before);
                    let seen = window.claim(&request, model.next).err().unwrap_or_default();
                    let seen: Vec<_> = seen.iter().map(|seen| (seen.position, seen.original, seen.same_body)).collect();
                    prop_assert_eq!(&seen, &expected);
                    if expected.is_empty() {
                        model.admitted.extend((model.next..).zip(request.iter().copied()));
                        model.next += request.len() as u64;
                    }
                }
                Op::Sync(events) => {
                    model.durable = (model.durable + events).min(model.next - 1);
                    window.synced(model.durable).tell();
                    let keep_from = (model.durable + 1).saturating_sub(limit);
                    model.admitted.retain(|seq, _| *seq >= keep_from);
                }
                Op::Refuse => {
                    window.refused().tell();
                    model.next = model.durable + 1;
                    model.admitted.retain(|seq, _| *seq < model.next);
                }
                Op::Forget(from, to) => {
                    window.forget(from, to);
                    model.admitted.retain(|seq, _| *seq < from || *seq > to);
                }
            }
            for id in 0..40 {
                let expected = model.admitted.iter().find(|(_, known)| known.id == fingerprint(id, 0).id).map(|(seq, _)| Seq(*seq));
                prop_assert_eq!(window.find(fingerprint(id, 0).id), expected);
            }
            window.evict();
            prop_assert_eq!(window.index.len(), model.admitted.len());
        }
    }
}

// Goal: memory is bounded by the setting, not by how many events come, nor by how long their ids are.
#[test]
fn memory_is_bounded() {
    assert_eq!(size_of::<Entry>(), 24);
    let mut window = window(1000);
    for seq in 1..=20_000_u64 {
        let request = [Fingerprint::new(&format!("{seq}{}", "x".repeat(900)), seq)];
        window.claim(&request, seq).unwrap();
        window.synced(seq).tell();
    }
    window.evict();
    assert_eq!((window.entries.len(), window.index.len(), window.oldest()), (1000, 1000, 19_001));
    assert!(
        window.entries.capacity() <= 2048 && window.index.capacity() <= 4096,
        "{} {}",
        window.entries.capacity(),
        window.index.capacity()
    );
}

// Goal: a repeat is answered only once its first event is durable, and a refusal of the first is told to whoever repeats it.
#[test]
fn a_repeat_waits_for_the_first() {
    let mut window = window(10);
    let request = [fingerprint(1, 1)];
    window.claim(&request, 1).unwrap();
    let seen = window.claim(&request, 2).unwrap_err();
    let Durable::NotYet(mut decision) = window.durable_all(&seen) else { panic!("it is not durable yet") };
    assert!(decision.try_recv().is_err());
    window.refused().tell();
    assert_eq!(decision.try_recv(), Ok(false));
    // Its seq is given to another event by now.
    window.claim(&[fingerprint(2, 2)], 1).unwrap();
    window.synced(1).tell();
    assert!(matches!(window.durable_all(&seen), Durable::No));

    let request = [fingerprint(2, 2)];
    let seen = window.claim(&request, 2).unwrap_err();
    assert!(matches!(window.durable_all(&seen), Durable::Yes));
    window.claim(&[fingerprint(3, 3)], 2).unwrap();
    let seen = window.claim(&[fingerprint(3, 3)], 3).unwrap_err();
    let Durable::NotYet(mut decision) = window.durable_all(&seen) else { panic!("it is not durable yet") };
    window.synced(2).tell();
    assert_eq!(decision.try_recv(), Ok(true));
}

// Goal: with the setting at 0 nothing is compared, and nothing kept.
#[test]
fn off() {
    let mut window = Window::off();
    window.claim(&[fingerprint(1, 1), fingerprint(1, 2)], 1).unwrap();
    window.claim(&[fingerprint(1, 3)], 3).unwrap();
    window.synced(3).tell();
    assert_eq!((window.find(fingerprint(1, 1).id), window.entries.len()), (None, 0));
}
