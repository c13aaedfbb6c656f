//! The lines of a relay take turns: each has a thread, and one of them runs at a time. Who is next is drawn from the seed, so that the same seed gives
//! the same run.
//!
//! A line hands over only where it waits for time to pass. A crash of one is a crash of all: the others unwind when their turn comes.

use super::kafka::LINES;
use super::run::Crash;
use super::world::{Shared, World, look};
use std::panic::resume_unwind;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

#[derive(Default)]
struct Table {
    turn: usize,
    /// Who is there to take a turn.
    seated: [bool; LINES],
    crashed: bool,
}

#[derive(Default)]
struct Baton {
    table: Mutex<Table>,
    changed: Condvar,
}

/// A line's place in a life; clones are the same place.
#[derive(Clone)]
pub struct Seat {
    pub line: usize,
    world: Shared,
    baton: Arc<Baton>,
}

impl Seat {
    /// The places of a life: all lines, or only the first.
    pub fn all(world: &Shared, both: bool) -> [Self; LINES] {
        let baton = Arc::new(Baton { table: Mutex::new(Table { seated: [true, both], ..Table::default() }), ..Baton::default() });
        std::array::from_fn(|line| Self { line, world: Arc::clone(world), baton: Arc::clone(&baton) })
    }

    pub fn look(&self) -> MutexGuard<'_, World> {
        look(&self.world)
    }

    /// This line waits: time passes, others take their turns.
    pub fn pass(&self, time: Duration) {
        self.look().pass(time);
        let other = 1 - self.line;
        if self.table().seated[other] && self.look().chance.one_in(2) {
            self.hand_over(other);
        }
    }

    /// Waits for the first turn.
    pub fn begin(&self) {
        self.wait(self.table());
    }

    /// Waits until the other line has ended. It gets all turns.
    pub fn outlast(&self) {
        let other = 1 - self.line;
        let mut table = self.table();
        table.seated[self.line] = false;
        table.turn = other;
        self.baton.changed.notify_all();
        let table = self.baton.changed.wait_while(table, |table| table.seated[other] && !table.crashed);
        let mut table = table.unwrap_or_else(PoisonError::into_inner);
        (table.seated[self.line], table.turn) = (true, self.line);
        Self::crash_with(&table);
    }

    /// This line has no more turns.
    pub fn leave(&self, crashed: bool) {
        let mut table = self.table();
        table.seated[self.line] = false;
        table.crashed |= crashed;
        table.turn = 1 - self.line;
        drop(table);
        self.baton.changed.notify_all();
    }

    fn hand_over(&self, other: usize) {
        let mut table = self.table();
        table.turn = other;
        self.baton.changed.notify_all();
        self.wait(table);
    }

    fn wait(&self, table: MutexGuard<'_, Table>) {
        let table = self.baton.changed.wait_while(table, |table| table.turn != self.line && !table.crashed);
        Self::crash_with(&table.unwrap_or_else(PoisonError::into_inner));
    }

    fn crash_with(table: &Table) {
        if table.crashed {
            resume_unwind(Box::new(Crash));
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.baton.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
