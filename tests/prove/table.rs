//! What was proved, in one table; what failed, with the way to see it again.

use crate::proof::{Line, Scope};

pub fn print(lines: &[Line], scope: &Scope) {
    println!("\n{:<14} {:>10} {:>16} {:>9} {:>8}", "proof", "cases", "distinct states", "failures", "seconds");
    for line in lines {
        let tally = &line.tally;
        let states = if tally.states.is_empty() { "-".to_owned() } else { tally.states.len().to_string() };
        println!("{:<14} {:>10} {:>16} {:>9} {:>8.1}", line.proof, tally.cases, states, tally.failures.len(), line.took.as_secs_f64());
    }
    for line in lines {
        for (what, n) in &line.tally.notes {
            println!("{}: {n} {what}", line.proof);
        }
    }
    for line in lines {
        for failure in &line.tally.failures {
            println!("\nFAILED {}, seed {}\n  step:  {}\n  what:  {}", line.proof, failure.seed, failure.step, failure.what);
            let full = if scope.full { " --full" } else { "" };
            println!("  again: cargo test --test prove -- --only {} --seed {}{full}", line.proof, failure.seed);
        }
    }
}
