//! The sidecar itself: the kustomize component's patch, which is generated from the chart, with the plan's values put in.
//!
//! The container is therefore written down once, in the chart; `make helm-check` compares what comes out of each way.

use super::plan::Plan;
use super::yaml::{Node, parse};
use super::{Storage, error::InjectError};

/// The patch.
const PATCH: &str = include_str!("../../../kustomize/dualstream/sidecar.yaml");

/// Name of the container.
pub(super) const CONTAINER: &str = "dualstream";

/// Volume of the buffer, by which the relay is recognised.
pub(super) const BUFFER: &str = "dualstream-buffer";

/// Volume of the socket.
pub(super) const SOCKET: &str = "dualstream-socket";

/// Where relay and application see the socket's volume.
pub(super) const SOCKET_DIRECTORY: &str = "/run/dualstream";

/// Where the buffer is in the container.
pub(super) const BUFFER_DIRECTORY: &str = "/var/lib/dualstream/buffer";

/// What a pod gets.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sidecar {
    pub(super) container: Node,
    pub(super) volumes: Vec<Node>,
    /// For each container of the application.
    pub(super) app_mounts: Vec<Node>,
    /// For each container of the application.
    pub(super) app_env: Vec<Node>,
    pub(super) grace_seconds: u64,
    /// `fsGroup` and how it is applied.
    pub(super) group: Vec<(Node, Node)>,
    pub(super) labels: Vec<(&'static str, String)>,
    pub(super) annotations: Vec<(&'static str, String)>,
    pub(super) is_native: bool,
    pub(super) has_socket: bool,
    pub(super) is_one_claim: bool,
}

impl Sidecar {
    /// The plan's sidecar.
    pub(super) fn new(plan: &Plan) -> Result<Self, InjectError> {
        let patch = parse(PATCH, 1).map_err(|source| InjectError::Yaml { input: "the built-in sidecar".to_owned(), source })?;
        let spec = ["spec", "template", "spec"].iter().try_fold(&patch.unwrap_or(Node::plain("")), |node, key| node.get(key)).cloned();
        let spec = spec.unwrap_or(Node::Map(Vec::new()));
        let container = spec.items("initContainers").first().cloned().unwrap_or(Node::Map(Vec::new()));
        let group = match spec.get("securityContext") {
            Some(Node::Map(entries)) => {
                entries.iter().filter(|(key, _)| key.text().is_some_and(|key| key.starts_with("fsGroup"))).cloned().collect()
            }
            _ => Vec::new(),
        };
        Ok(Self {
            container: container_of(container, plan),
            volumes: volumes_of(spec.items("volumes"), plan),
            app_mounts: app_mounts(plan),
            app_env: app_env(plan),
            grace_seconds: plan.grace_seconds,
            group,
            labels: vec![("dualstream/relay", plan.name.clone())],
            annotations: plan.checksum.iter().map(|sum| ("dualstream/config-checksum", sum.clone())).collect(),
            is_native: plan.is_native,
            has_socket: plan.has_socket,
            is_one_claim: plan.storage == Storage::ExistingClaim,
        })
    }
}

fn container_of(mut container: Node, plan: &Plan) -> Node {
    container.set("image", Node::string(&plan.image));
    if !plan.is_native {
        container.remove("restartPolicy");
    }
    if let Some([port]) = container.list_of("ports").map(Vec::as_mut_slice) {
        port.set("containerPort", Node::plain(plan.probe_port.to_string()));
    }
    if let Some(requests) = container.get_mut("resources").and_then(|resources| resources.get_mut("requests")) {
        requests.set("ephemeral-storage", Node::plain(&plan.ephemeral_storage));
    }
    if let Some(mounts) = container.list_of("volumeMounts") {
        mounts.retain(|mount| plan.has_socket || mount.name() != Some(SOCKET));
    }
    container
}

fn volumes_of(volumes: &[Node], plan: &Plan) -> Vec<Node> {
    let wanted = volumes.iter().filter(|volume| plan.has_socket || volume.name() != Some(SOCKET));
    let with_values = wanted.map(|volume| {
        if volume.name() == Some(BUFFER) {
            return buffer_volume(plan);
        }
        let mut volume = volume.clone();
        if let Some(map) = volume.get_mut("configMap") {
            map.set("name", Node::string(config_map(&plan.name)));
        }
        volume
    });
    with_values.collect()
}

fn buffer_volume(plan: &Plan) -> Node {
    let size = Node::plain(&plan.volume_size);
    let source = match plan.storage {
        Storage::EmptyDir => ("emptyDir", Node::map([("sizeLimit", size)])),
        Storage::ExistingClaim => {
            let claim = Node::string(plan.claim.clone().unwrap_or_default());
            ("persistentVolumeClaim", Node::map([("claimName", claim)]))
        }
        Storage::Ephemeral => {
            let mut spec = Node::map([("accessModes", Node::List(vec![Node::plain("ReadWriteOnce")]))]);
            if let Some(class) = &plan.storage_class {
                spec.set("storageClassName", Node::string(class));
            }
            spec.set("resources", Node::map([("requests", Node::map([("storage", size)]))]));
            ("ephemeral", Node::map([("volumeClaimTemplate", Node::map([("spec", spec)]))]))
        }
    };
    Node::map([("name", Node::plain(BUFFER)), source])
}

/// Connecting to a socket needs no writable mount.
fn app_mounts(plan: &Plan) -> Vec<Node> {
    let mount = Node::map([("name", Node::plain(SOCKET)), ("mountPath", Node::plain(SOCKET_DIRECTORY)), ("readOnly", Node::plain("true"))]);
    if plan.has_socket { vec![mount] } else { Vec::new() }
}

/// The variables that the application gets, in the order in which it gets them.
pub(super) const APP_VARIABLES: [&str; 2] = ["DUALSTREAM_SOCKET", "DUALSTREAM_URL"];

fn app_env(plan: &Plan) -> Vec<Node> {
    let values = [plan.has_socket.then(socket_path), plan.listen.map(|address| format!("http://{address}"))];
    let variable = |(name, value): (&str, String)| Node::map([("name", Node::plain(name)), ("value", Node::string(value))]);
    APP_VARIABLES.into_iter().zip(values).filter_map(|(name, value)| Some((name, value?))).map(variable).collect()
}

/// The socket for events.
pub(super) fn socket_path() -> String {
    format!("{SOCKET_DIRECTORY}/ingest.sock")
}

/// Name of the ConfigMap.
pub(super) fn config_map(name: &str) -> String {
    format!("{name}-config")
}
