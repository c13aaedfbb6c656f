//! Writers of every kind at once: batches of one source, batches over several sources and partitions, single events, and
//! some who wait for Kafka.

use std::time::Duration;

use super::{
    load::{Load, Plan},
    relay::Relay,
    report::Report,
};

/// Four [`Load`]s on one relay, through its Unix socket, whose address a restart keeps.
pub struct Mixed {
    loads: Vec<Load>,
}

impl Mixed {
    /// Starts the writers.
    pub fn start(relay: &Relay) -> Self {
        let pause = Duration::from_millis(1);
        let plans = [
            Plan { writers: 2, first_writer: 0, sources: 3, batch: 60, pause, ..Plan::default() },
            Plan { writers: 2, first_writer: 10, sources: 5, batch: 40, spread: true, pause, ..Plan::default() },
            Plan { writers: 2, first_writer: 20, sources: 2, batch: 1, pause, ..Plan::default() },
            Plan { writers: 1, first_writer: 30, sources: 4, batch: 7, spread: true, query: "?ack=kafka", pause, ..Plan::default() },
        ];
        Self { loads: plans.iter().map(|plan| Load::start(relay.ingest_socket(), plan)).collect() }
    }

    /// Waits until batches and single events were accepted again.
    #[track_caller]
    pub fn wait_accepted(&self, deadline: Duration) {
        self.loads[1].wait_accepted(800, deadline);
        self.loads[2].wait_accepted(20, deadline);
    }

    /// Events accepted so far.
    pub fn accepted(&self) -> u64 {
        self.loads.iter().map(Load::accepted).sum()
    }

    /// Stops the writers after the request they are at; all that they saw.
    pub fn stop(self) -> Report {
        Report::join(self.loads.into_iter().map(Load::stop))
    }
}
