//! One pod template: the relay goes in, or is brought up to date.
//!
//! What this writes it writes anew each time; what others have added (variables and mounts of the relay, a longer grace period, an
//! `fsGroup`) stays. So that twice is once.

use super::error::InjectError;
use super::sidecar::{APP_VARIABLES, BUFFER, CONTAINER, SOCKET, SOCKET_DIRECTORY, Sidecar};
use super::yaml::Node;

/// Gives the relay to a pod or pod template. `only` names the containers that get the socket; empty: all.
pub(super) fn give(pod: &mut Node, sidecar: &Sidecar, only: &[String], workload: &str) -> Result<(), InjectError> {
    let shape = |field, wanted| InjectError::Shape { workload: workload.to_owned(), field, wanted };
    let spec = pod.map_of("spec").ok_or(shape("the pod's spec", "mapping"))?;
    place_container(spec, sidecar, workload)?;
    connect(spec, sidecar, only, workload)?;
    let volumes = spec.list_of("volumes").ok_or(shape("volumes", "list"))?;
    for volume in &sidecar.volumes {
        put(volumes, volume.clone());
    }
    volumes.retain(|volume| sidecar.has_socket || volume.name() != Some(SOCKET));
    let grace = spec.text_at(&["terminationGracePeriodSeconds"]).and_then(|text| text.parse::<u64>().ok());
    if grace.is_none_or(|seconds| seconds < sidecar.grace_seconds) {
        spec.set("terminationGracePeriodSeconds", Node::plain(sidecar.grace_seconds.to_string()));
    }
    let security = spec.map_of("securityContext").ok_or(shape("securityContext", "mapping"))?;
    if security.get("fsGroup").is_none_or(Node::is_null) {
        for (key, value) in &sidecar.group {
            security.set(key.text().unwrap_or_default(), value.clone());
        }
    }
    for (table, entries) in [("labels", &sidecar.labels), ("annotations", &sidecar.annotations)] {
        if entries.is_empty() {
            continue;
        }
        let metadata = first_map(pod, "metadata").ok_or(shape("the pod's metadata", "mapping"))?;
        let table = metadata.map_of(table).ok_or(shape("labels or annotations of the pod", "mapping"))?;
        for (key, value) in entries {
            table.set(key, Node::string(value));
        }
    }
    Ok(())
}

/// The mapping of a key, made in front of the others when there is none.
fn first_map<'a>(node: &'a mut Node, key: &str) -> Option<&'a mut Node> {
    if let Node::Map(entries) = &mut *node
        && !entries.iter().any(|(name, _)| name.text() == Some(key))
    {
        entries.insert(0, (Node::plain(key), Node::Map(Vec::new())));
    }
    node.map_of(key)
}

/// The relay's container: in its old place, or the first of the init containers (without native sidecars: the last container).
fn place_container(spec: &mut Node, sidecar: &Sidecar, workload: &str) -> Result<(), InjectError> {
    let (home, other) = if sidecar.is_native { ("initContainers", "containers") } else { ("containers", "initContainers") };
    let mut old = None;
    for list in [home, other] {
        let shape = InjectError::Shape { workload: workload.to_owned(), field: "the pod's list of containers", wanted: "list" };
        let containers = spec.list_of(list).ok_or(shape)?;
        while let Some(at) = containers.iter().position(|container| container.name() == Some(CONTAINER)) {
            let found = containers.remove(at);
            if !found.items("volumeMounts").iter().any(|mount| mount.name() == Some(BUFFER)) {
                return Err(InjectError::NameTaken { workload: workload.to_owned() });
            }
            let _ = old.get_or_insert((found, (list == home).then_some(at)));
        }
    }
    if spec.items("containers").is_empty() {
        return Err(InjectError::NoContainers { workload: workload.to_owned() });
    }
    let (container, place) = match old {
        Some((old, place)) => (renewed(&old, sidecar), place),
        None => (sidecar.container.clone(), None),
    };
    if let Some(containers) = spec.list_of(home) {
        let place = place.unwrap_or(if sidecar.is_native { 0 } else { containers.len() });
        containers.insert(place, container);
    }
    spec.remove_if_empty(other);
    Ok(())
}

/// The new container, with what somebody else has added to the old one.
fn renewed(old: &Node, sidecar: &Sidecar) -> Node {
    let mut new = sidecar.container.clone();
    if let Node::Map(entries) = old {
        // Which of the two kinds of container it is, is ours to say.
        for (key, value) in entries.iter().filter(|(key, _)| key.text() != Some("restartPolicy")) {
            let key = key.text().unwrap_or_default();
            if new.get(key).is_none() {
                new.set(key, value.clone());
            }
        }
    }
    for list in ["env", "volumeMounts"] {
        let has = |new: &Node, item: &Node| new.items(list).iter().any(|there| is_same(list, there, item));
        let added: Vec<Node> = old.items(list).iter().filter(|item| !has(&new, item) && item.name() != Some(SOCKET)).cloned().collect();
        if let Some(items) = new.list_of(list) {
            items.extend(added);
        }
    }
    new
}

/// Whether one takes the other's place: variables go by their name, mounts by where they are.
fn is_same(list: &str, one: &Node, other: &Node) -> bool {
    let key = if list == "env" { "name" } else { "mountPath" };
    one.text_at(&[key]) == other.text_at(&[key])
}

/// The application's containers get the socket and the variables; those that are not meant (any more) lose them.
fn connect(spec: &mut Node, sidecar: &Sidecar, only: &[String], workload: &str) -> Result<(), InjectError> {
    let names: Vec<String> =
        spec.items("containers").iter().filter_map(Node::name).filter(|name| *name != CONTAINER).map(str::to_owned).collect();
    if names.is_empty() {
        return Err(InjectError::NoContainers { workload: workload.to_owned() });
    }
    if let Some(wanted) = only.iter().find(|wanted| !names.contains(wanted)) {
        return Err(InjectError::NoSuchContainer { workload: workload.to_owned(), wanted: wanted.clone(), found: names.join(", ") });
    }
    for container in spec.list_of("containers").into_iter().flatten() {
        let name = container.name().unwrap_or_default().to_owned();
        if name == CONTAINER {
            continue;
        }
        let is_meant = only.is_empty() || only.contains(&name);
        let was_meant = container.items("volumeMounts").iter().any(|mount| mount.name() == Some(SOCKET));
        if is_meant || was_meant {
            disconnect(container);
        }
        if is_meant {
            connect_one(container, &name, sidecar, workload)?;
        }
    }
    Ok(())
}

fn connect_one(container: &mut Node, name: &str, sidecar: &Sidecar, workload: &str) -> Result<(), InjectError> {
    let shape = |field| InjectError::Shape { workload: workload.to_owned(), field, wanted: "list" };
    let taken = container.items("volumeMounts").iter().find(|mount| mount.text_at(&["mountPath"]) == Some(SOCKET_DIRECTORY));
    if let Some(taken) = taken.filter(|_| sidecar.has_socket) {
        return Err(InjectError::PathTaken {
            workload: workload.to_owned(),
            container: name.to_owned(),
            volume: taken.name().unwrap_or_default().to_owned(),
            path: SOCKET_DIRECTORY,
        });
    }
    container.list_of("env").ok_or(shape("env of a container"))?.extend(sidecar.app_env.iter().cloned());
    container.list_of("volumeMounts").ok_or(shape("volumeMounts of a container"))?.extend(sidecar.app_mounts.iter().cloned());
    container.remove_if_empty("env");
    container.remove_if_empty("volumeMounts");
    Ok(())
}

fn disconnect(container: &mut Node) {
    if let Some(Node::List(mounts)) = container.get_mut("volumeMounts") {
        mounts.retain(|mount| mount.name() != Some(SOCKET));
    }
    if let Some(Node::List(variables)) = container.get_mut("env") {
        variables.retain(|variable| !variable.name().is_some_and(|name| APP_VARIABLES.contains(&name)));
    }
    container.remove_if_empty("volumeMounts");
    container.remove_if_empty("env");
}

/// Puts an item with a name into a list: in the place of the one of that name, or behind the others.
fn put(items: &mut Vec<Node>, item: Node) {
    match items.iter_mut().find(|there| there.name() == item.name()) {
        Some(there) => *there = item,
        None => items.push(item),
    }
}
