//! Why nothing is injected: what is wrong, where, and what to do.

use super::yaml::YamlError;

/// Why a stream of manifests is refused. Nothing is written then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InjectError {
    /// A document is not what a manifest can be.
    #[error("{input}")]
    Yaml {
        input: String,
        #[source]
        source: YamlError,
    },
    /// Nothing in the stream has pods.
    #[error("{input}: nothing here makes pods ({found}); give a {kinds}", kinds = super::workload::KINDS)]
    NoWorkload { input: String, found: String },
    /// `--only` names what is not there.
    #[error("--only {wanted}: not here; there is {found}")]
    NotThere { wanted: String, found: String },
    /// A pod without containers.
    #[error("{workload} has no containers, so that there is nobody to give the relay to")]
    NoContainers { workload: String },
    /// `--container` names what is not there.
    #[error("{workload} has no container {wanted}; it has {found}")]
    NoSuchContainer { workload: String, wanted: String, found: String },
    /// The relay's name belongs to something else.
    #[error("{workload} has a container `dualstream` that is not the relay (it does not mount its buffer); rename it")]
    NameTaken { workload: String },
    /// The socket's place belongs to something else.
    #[error(
        "{workload}: container {container} has the volume {volume} at {path}, where the relay's socket goes; move it, or give --no-socket"
    )]
    PathTaken { workload: String, container: String, volume: String, path: &'static str },
    /// A part of the pod has another shape.
    #[error("{workload}: {field} is not a {wanted}")]
    Shape { workload: String, field: &'static str, wanted: &'static str },
    /// One claim for several pods.
    #[error(
        "{workload} makes several pods, and one claim is for one relay; use --storage ephemeral, a StatefulSet with claims of its own (the chart), or one replica"
    )]
    SharedClaim { workload: String },
    /// A job would never end.
    #[error(
        "{workload} would not end: without native sidecars the relay outlives its job; leave it out with --only, or use a cluster from 1.29 on"
    )]
    EndlessJob { workload: String },
}
