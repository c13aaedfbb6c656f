//! `--keep`: the relay stays up for requests by hand, and what arrives of them is shown.

use super::words::{Places, by_hand};
use super::world::World;
use crate::cli::exit::{Exit, Failure};
use crate::cli::human::count;
use crate::cli::output::{Output, Paint};
use std::time::Duration;

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// Stays up until a signal.
pub(super) fn stay(world: &World, places: &Places<'_>, out: &mut Output) -> Result<(), Failure> {
    out.line("")?;
    for line in by_hand(places) {
        out.line(line)?;
    }
    out.line("")?;
    while !world.interrupted() {
        if world.relay().ended() {
            return Err(Failure::new(Exit::Failed, "the relay ended by itself"));
        }
        if let Some(trouble) = world.shared().trouble() {
            return Err(Failure::new(Exit::Failed, trouble));
        }
        show_overheard(world, out)?;
        std::thread::sleep(LOOK);
    }
    out.line("")?;
    out.line("Stopping: finish requests, drain the buffer, last notifications, close.")
}

fn show_overheard(world: &World, out: &mut Output) -> Result<(), Failure> {
    let overheard = world.shared().take_overheard();
    for line in overheard.lines {
        out.line(line)?;
    }
    if overheard.left_out > 0 {
        let text = format!("… and {} more", count(overheard.left_out));
        out.line(out.paint(Paint::Faint, &text))?;
    }
    Ok(())
}
