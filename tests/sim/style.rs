//! What a run is like: chosen from its seed, within a scenario.

use crate::chance::Chance;

/// Scenarios by name, with what may go wrong in each.
pub const SCENARIOS: [Scenario; 9] = [
    Scenario { name: "calm", faulty: false, crashes: false, poison: false, operator: false, looks: None, parks: false },
    Scenario { name: "brokers", faulty: true, crashes: false, poison: false, operator: false, looks: None, parks: false },
    Scenario { name: "power", faulty: false, crashes: true, poison: false, operator: true, looks: None, parks: false },
    Scenario { name: "poison", faulty: true, crashes: false, poison: true, operator: true, looks: None, parks: false },
    Scenario { name: "all", faulty: true, crashes: true, poison: true, operator: true, looks: None, parks: false },
    Scenario { name: "reconcile", faulty: true, crashes: true, poison: true, operator: true, looks: Some(Looks::Succeed), parks: false },
    Scenario { name: "half-blind", faulty: true, crashes: true, poison: true, operator: true, looks: Some(Looks::Fail), parks: false },
    Scenario { name: "parking", faulty: true, crashes: true, poison: true, operator: true, looks: None, parks: true },
    Scenario {
        name: "parking-reconcile",
        faulty: true,
        crashes: true,
        poison: true,
        operator: true,
        looks: Some(Looks::Succeed),
        parks: true,
    },
];

/// The relay looks into Kafka for its own records (`recovery = "reconcile"`), and what comes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looks {
    /// All of it is seen, unless the relay dies or is told to stop.
    Succeed,
    /// Now and then nothing, or only a part.
    Fail,
}

#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "a table of what may happen")]
pub struct Scenario {
    pub name: &'static str,
    /// Kafka loses answers, refuses, stands still, is away.
    pub faulty: bool,
    /// Power fails, or the process is killed.
    pub crashes: bool,
    /// Some events are never taken.
    pub poison: bool,
    /// Somebody pauses, purges, retries.
    pub operator: bool,
    pub looks: Option<Looks>,
    /// Topics go away one by one, and their events are parked (`on_blocked = "park"`).
    pub parks: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Times that the relay runs, the last of them until all is delivered.
    pub lives: u64,
    /// Things that happen beside the drain in one life.
    pub acts: u64,
    /// Lives but the last end with a crash, after at most so many calls of the disk.
    pub crash_calls: Option<u64>,
    pub sources: u64,
    /// Most events of a batch, and bytes of an event.
    pub batch_events: u64,
    pub value_bytes: u64,
    /// One request in so many is sent again, in whole or in part.
    pub repeats: u64,
    /// One in so many; 0 for never.
    pub poison: u64,
    pub fault: u64,
    pub lost_ack: u64,
    pub deaf: u64,
    pub outage: u64,
    /// A batch of more events is too large.
    pub batch_limit: Option<usize>,
    pub operator: bool,
    pub looks: Option<Looks>,
    pub parks: bool,
}

impl Style {
    pub fn choose(scenario: Scenario, chance: &mut Chance) -> Self {
        let pick = |chance: &mut Chance, of: &[u64]| of[chance.index(of.len())];
        let faulty = |chance: &mut Chance, of: &[u64]| if scenario.faulty { pick(chance, of) } else { 0 };
        Self {
            lives: 1 + chance.below(4),
            acts: 60 + chance.below(400),
            crash_calls: scenario.crashes.then(|| pick(chance, &[60, 300, 1_200])),
            sources: pick(chance, &[1, 3, 12]),
            batch_events: pick(chance, &[1, 4, 20]),
            value_bytes: pick(chance, &[20, 300, 3_000]),
            repeats: pick(chance, &[0, 3, 12]),
            poison: if scenario.poison { pick(chance, &[5, 20, 100]) } else { 0 },
            fault: faulty(chance, &[0, 6, 20, 100]),
            lost_ack: faulty(chance, &[0, 3, 20]),
            deaf: faulty(chance, &[0, 0, 4]),
            outage: faulty(chance, &[0, 4, 20]),
            batch_limit: (scenario.faulty && chance.one_in(4)).then(|| 1 + chance.index(12)),
            operator: scenario.operator,
            looks: scenario.looks,
            parks: scenario.parks,
        }
    }
}

/// Happens once in `n` times; never for 0.
pub fn happens(chance: &mut Chance, n: u64) -> bool {
    n > 0 && chance.one_in(n)
}
