//! A whole stream: which documents change, and where the ConfigMap goes.

use super::error::InjectError;
use super::relay_toml;
use super::sidecar::Sidecar;
use super::workload::{Tally, visit};
use super::yaml::{Document, Node, emit, parse, split};

/// A file, or standard input.
#[derive(Clone, Debug)]
pub(super) struct Input {
    /// For messages.
    pub(super) name: String,
    /// What is in it.
    pub(super) text: String,
}

/// What to do with the stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    pub(super) sidecar: &'a Sidecar,
    pub(super) only: &'a [String],
    pub(super) containers: &'a [String],
    pub(super) name: &'a str,
    /// The settings, when their ConfigMap is to be written.
    pub(super) relay_toml: Option<&'a str>,
}

/// The stream afterwards.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) text: String,
    /// `KIND/NAME` of what got the relay.
    pub(super) given: Vec<String>,
    /// How many objects did not.
    pub(super) others: usize,
}

/// A document on its way out.
struct Piece<'a> {
    document: Document<'a>,
    node: Option<Node>,
    is_changed: bool,
}

/// Gives the relay to what makes pods in all inputs.
pub(super) fn inject(inputs: &[Input], request: &Request<'_>) -> Result<Done, InjectError> {
    let mut tally = Tally::default();
    let mut pieces = Vec::new();
    for input in inputs {
        let located = |source| InjectError::Yaml { input: input.name.clone(), source };
        for document in split(&input.text) {
            let mut node = if document.is_empty() { None } else { parse(document.text, document.line).map_err(located)? };
            let is_changed = match &mut node {
                Some(node) => {
                    let before = node.clone();
                    visit(node, request.sidecar, request.only, request.containers, &mut tally)? && *node != before
                }
                None => false,
            };
            pieces.push(Piece { document, node, is_changed });
        }
    }
    judge(&tally, request, inputs)?;
    let config_maps = config_maps(&mut pieces, request, &tally);
    Ok(Done { text: written(&pieces, &config_maps), given: tally.given, others: tally.others.len() })
}

/// What was asked for has to be there.
fn judge(tally: &Tally, request: &Request<'_>, inputs: &[Input]) -> Result<(), InjectError> {
    let listed = |objects: &[String]| if objects.is_empty() { "nothing".to_owned() } else { objects.join(", ") };
    let is_given = |only: &&String| tally.given.iter().any(|given| given.eq_ignore_ascii_case(only));
    if let Some(wanted) = request.only.iter().find(|only| !is_given(only)) {
        let all = [tally.given.as_slice(), tally.others.as_slice()].concat();
        return Err(InjectError::NotThere { wanted: wanted.clone(), found: listed(&all) });
    }
    if tally.given.is_empty() {
        let input = inputs.iter().map(|input| input.name.as_str()).collect::<Vec<_>>().join(", ");
        return Err(InjectError::NoWorkload { input, found: listed(&tally.others) });
    }
    Ok(())
}

/// The ConfigMaps that are not there yet; one that is there is brought up to date in its place.
fn config_maps(pieces: &mut [Piece<'_>], request: &Request<'_>, tally: &Tally) -> Vec<Node> {
    let Some(text) = request.relay_toml else { return Vec::new() };
    let mut missing = Vec::new();
    for namespace in &tally.namespaces {
        let namespace = namespace.as_deref();
        let found = pieces.iter_mut().find_map(|Piece { node, is_changed, .. }| {
            let config_map = find(node.as_mut()?, &|object| relay_toml::is_it(object, request.name, namespace))?;
            Some((config_map, is_changed))
        });
        match found {
            Some((config_map, is_changed)) => {
                if let Some(data) = config_map.map_of("data")
                    && data.text_at(&["relay.toml"]) != Some(text)
                {
                    data.set("relay.toml", Node::string(text));
                    *is_changed = true;
                }
            }
            None => missing.push(relay_toml::object(request.name, namespace, text)),
        }
    }
    missing
}

/// The object that is meant, or the one in a list.
fn find<'a>(object: &'a mut Node, is_it: &dyn Fn(&Node) -> bool) -> Option<&'a mut Node> {
    if is_it(object) {
        return Some(object);
    }
    match object.get_mut("items") {
        Some(Node::List(items)) => items.iter_mut().find_map(|item| find(item, is_it)),
        _ => None,
    }
}

fn written(pieces: &[Piece<'_>], config_maps: &[Node]) -> String {
    let mut out = String::new();
    for config_map in config_maps {
        separate(&mut out);
        out.push_str(&emit(config_map));
    }
    for piece in pieces {
        if !out.is_empty() && piece.document.is_only_directives() {
            // They stand before a first separator; behind another document they would be content.
            continue;
        }
        if !piece.document.has_separator() {
            separate(&mut out);
        } else if !out.is_empty() && !out.ends_with('\n') {
            out.push('\n');
        }
        match &piece.node {
            Some(node) if piece.is_changed => {
                let head = piece.document.head();
                // Content may stand beside the separator, which is then not in the head.
                if head.is_empty() && piece.document.has_separator() {
                    separate(&mut out);
                }
                out.push_str(head);
                out.push_str(&emit(node));
            }
            _ => out.push_str(piece.document.text),
        }
    }
    out
}

/// Begins another document, unless nothing has been written.
fn separate(out: &mut String) {
    if !out.is_empty() {
        if !out.ends_with('\n') {
            out.push('\n');
        }
        out.push_str("---\n");
    }
}
