//! Which objects make pods, and where in them the pod is.

use super::error::InjectError;
use super::pod::give;
use super::sidecar::Sidecar;
use super::yaml::Node;

/// The kinds, for people.
pub(super) const KINDS: &str = "Deployment, StatefulSet, DaemonSet, ReplicaSet, Job, CronJob or Pod";

/// Deepest lists in lists.
const LISTS_MAX: usize = 8;

/// What is wanted of a stream, and what has been met in it.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// `KIND/NAME` of what got the relay.
    pub(super) given: Vec<String>,
    /// Namespaces of those, each once; `None`: the manifest names none.
    pub(super) namespaces: Vec<Option<String>>,
    /// `KIND/NAME` of everything else.
    pub(super) others: Vec<String>,
}

/// Where an object's pod is; `None`: it makes none.
fn pod_path(object: &Node) -> Option<&'static [&'static str]> {
    match (object.text_at(&["apiVersion"])?, object.text_at(&["kind"])?) {
        ("v1", "Pod") => Some(&[]),
        ("apps/v1", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet") | ("batch/v1", "Job") => Some(&["spec", "template"]),
        ("batch/v1", "CronJob") => Some(&["spec", "jobTemplate", "spec", "template"]),
        _ => None,
    }
}

/// `KIND/NAME`.
fn title(object: &Node) -> String {
    let name = object.text_at(&["metadata", "name"]).or(object.text_at(&["metadata", "generateName"]));
    let Some(kind) = object.text_at(&["kind"]) else { return "a document without a kind".to_owned() };
    format!("{kind}/{}", name.unwrap_or("?"))
}

/// Gives the relay to what makes pods in an object, a `List` included; whether it was there. `only` holds `KIND/NAME`; empty: all.
pub(super) fn visit(
    object: &mut Node,
    sidecar: &Sidecar,
    only: &[String],
    containers: &[String],
    tally: &mut Tally,
) -> Result<bool, InjectError> {
    let targets = Targets { sidecar, only, containers };
    targets.visit(object, tally, 0)
}

struct Targets<'a> {
    sidecar: &'a Sidecar,
    only: &'a [String],
    containers: &'a [String],
}

impl Targets<'_> {
    fn visit(&self, object: &mut Node, tally: &mut Tally, depth: usize) -> Result<bool, InjectError> {
        let is_list = object.text_at(&["kind"]).is_some_and(|kind| kind.ends_with("List"));
        if is_list
            && depth < LISTS_MAX
            && let Some(Node::List(items)) = object.get_mut("items")
        {
            let mut changed = false;
            for item in items {
                changed |= self.visit(item, tally, depth + 1)?;
            }
            return Ok(changed);
        }
        let title = title(object);
        let is_wanted = self.only.is_empty() || self.only.iter().any(|only| only.eq_ignore_ascii_case(&title));
        let Some(path) = pod_path(object).filter(|_| is_wanted) else {
            tally.others.push(title);
            return Ok(false);
        };
        self.judge(object, &title)?;
        let namespace = object.text_at(&["metadata", "namespace"]).map(str::to_owned);
        let pod = path.iter().try_fold(object, |node, key| node.get_mut(key));
        let pod = pod.ok_or(InjectError::Shape { workload: title.clone(), field: "its pod template", wanted: "mapping" })?;
        give(pod, self.sidecar, self.containers, &title)?;
        tally.given.push(title);
        if !tally.namespaces.contains(&namespace) {
            tally.namespaces.push(namespace);
        }
        Ok(true)
    }

    /// What the sidecar cannot be in.
    fn judge(&self, object: &Node, title: &str) -> Result<(), InjectError> {
        let kind = object.text_at(&["kind"]).unwrap_or_default();
        if !self.sidecar.is_native && ["Job", "CronJob"].contains(&kind) {
            return Err(InjectError::EndlessJob { workload: title.to_owned() });
        }
        let copies = object.text_at(&["spec", "replicas"]).or(object.text_at(&["spec", "parallelism"]));
        let is_many = kind == "DaemonSet" || copies.and_then(|text| text.parse::<u64>().ok()).is_some_and(|copies| copies > 1);
        if self.sidecar.is_one_claim && is_many {
            return Err(InjectError::SharedClaim { workload: title.to_owned() });
        }
        Ok(())
    }
}
