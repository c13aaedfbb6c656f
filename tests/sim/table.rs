//! What was simulated, in one table; what failed, with the way to see it again.

use crate::proof::{Line, Scope, Tally};

/// The columns of counts.
const COLUMNS: [(&str, &str); 10] = [
    ("events", "events"),
    ("crashes", "crashes"),
    ("handles", "handles of Kafka"),
    ("refused", "topics refused"),
    ("looks", "looks into Kafka"),
    ("twice", "records that came twice"),
    ("repeats", "repeats known"),
    ("dead", "dead letters"),
    ("parked", "parked events"),
    ("purged", "purged events"),
];

pub fn print(lines: &[Line], scope: &Scope) {
    let heads = COLUMNS.map(|(head, _)| format!(" {head:>8}")).concat();
    println!("\n{:<17} {:>7}{heads} {:>9} {:>8}  traces", "scenario", "seeds", "failures", "seconds");
    for Line { proof, tally, took } in lines {
        let counts = COLUMNS.map(|(_, what)| format!(" {:>8}", count(tally, what))).concat();
        // The same on every machine, and whatever the order in which the threads take the seeds.
        let traces = tally.states.iter().fold(0, |sum: u64, hash| sum.wrapping_add(*hash));
        println!("{proof:<17} {:>7}{counts} {:>9} {:>8.1}  {traces:016x}", tally.cases, tally.failures.len(), took.as_secs_f64());
    }
    let twice: u64 = lines.iter().map(|line| count(&line.tally, "runs done twice")).sum();
    println!("{twice} runs were done twice, for the same trace");
    for line in lines {
        for failure in &line.tally.failures {
            println!("\nFAILED {}, seed {}\n  step:  {}\n  what:  {}", line.proof, failure.seed, failure.step, failure.what);
            let profile = if scope.full { " --release" } else { "" };
            println!("  again: DUALSTREAM_SEED={} cargo test{profile} --test sim -- --only {}", failure.seed, line.proof);
        }
    }
}

fn count(tally: &Tally, what: &str) -> u64 {
    tally.notes.iter().find(|(name, _)| *name == what).map_or(0, |(_, n)| *n)
}
