//! `[ops]`

use super::super::kind::{Address, OrNone, SocketPath, Time};
use super::section;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

section! {
    /// Where people and Kubernetes look in.
    pub struct OpsConfig in ops {
        /// Address of status and metrics for people. Loopback only: there is neither a token nor TLS yet. Empty: off.
        listen: Option<SocketAddr> = Some(SocketAddr::from(([127, 0, 0, 1], 7411))), OrNone(Address::Loopback);

        /// Unix socket of the same. Empty: off.
        socket: Option<PathBuf> = None, OrNone(SocketPath);

        /// Address that serves only probes and metrics, for Kubernetes; any address may be given. Empty: off.
        probe_listen: Option<SocketAddr> = None, OrNone(Address::Any);

        /// No acknowledgement from Kafka for this long while there is backlog: degraded.
        stall_after: Duration = Duration::from_secs(30), Time { min_ms: 1_000, max_ms: 3_600_000 };
    }
}
