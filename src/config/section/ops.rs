//! `[ops]`

use super::super::kind::{Address, FilePath, OrNone, SocketPath, Time};
use super::section;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

section! {
    /// Where people and Kubernetes look in.
    pub struct OpsConfig in ops {
        /// Address of status and metrics for people. Loopback only: there is no TLS yet. Empty: off.
        listen: Option<SocketAddr> = Some(SocketAddr::from(([127, 0, 0, 1], 7411))), OrNone(Address::Loopback);

        /// Unix socket of the same; who may open it may also make changes (purge). Empty: off.
        socket: Option<PathBuf> = None, OrNone(SocketPath);

        /// File with the token that changes through `ops.listen` need, as `Authorization: Bearer …`; read at each change, so that it can be
        /// replaced. Empty: changes only through `ops.socket`.
        token_file: Option<PathBuf> = None, OrNone(FilePath);

        /// Address that serves only probes and metrics, for Kubernetes; any address may be given. Empty: off.
        probe_listen: Option<SocketAddr> = None, OrNone(Address::Any);

        /// No acknowledgement from Kafka for this long while there is backlog: degraded.
        stall_after: Duration = Duration::from_secs(30), Time { min_ms: 1_000, max_ms: 3_600_000 };
    }
}
