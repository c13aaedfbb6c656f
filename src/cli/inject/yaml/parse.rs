//! A document's text to its tree.

use super::Node;
use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};
use std::collections::{BTreeMap, BTreeSet};

/// Deepest nesting; writing goes down as deep on the stack.
const DEPTH_MAX: usize = 100;

/// Most nodes of a document, what aliases stand for counted each time.
const NODES_MAX: usize = 1_000_000;

/// What is wrong with a document, with its line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::cli::inject) enum YamlError {
    /// Not YAML.
    #[error("line {line}, column {column}: not YAML: {text}")]
    Syntax { line: usize, column: usize, text: String },
    /// A key is repeated.
    #[error("line {line}: the key {key:?} is there a second time")]
    Repeated { line: usize, key: String },
    /// A key that no manifest has.
    #[error("line {line}: a key is a list or a mapping; in a manifest it is a name")]
    Key { line: usize },
    /// A tag that no manifest has.
    #[error("line {line}: the tag {tag} means nothing in a manifest; take it away")]
    Tag { line: usize, tag: String },
    /// A merge key of something else than mappings.
    #[error("line {line}: `<<` takes a mapping, or a list of mappings")]
    Merge { line: usize },
    /// An alias of what has not ended.
    #[error("line {line}: an alias stands inside what it stands for")]
    Endless { line: usize },
    /// Bounds.
    #[error("line {line}: nested deeper than {DEPTH_MAX} levels, or more than {NODES_MAX} nodes in one document")]
    TooLarge { line: usize },
    /// More than one document between two separators.
    #[error("line {line}: a second document begins without `---` before it")]
    Second { line: usize },
}

/// A list or mapping that has begun.
struct Open {
    anchor: usize,
    line: usize,
    is_map: bool,
    key: Option<Node>,
    items: Vec<Node>,
    entries: Vec<(Node, Node)>,
}

/// What aliases may ask for.
struct Anchored {
    node: Node,
    nodes: usize,
    depth: usize,
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: BTreeMap<usize, Anchored>,
    root: Option<Node>,
    nodes: usize,
}

/// Reads the document of a text; `None` when it has none. `first_line` is the number of its first line, for errors.
pub(in crate::cli::inject) fn parse(text: &str, first_line: usize) -> Result<Option<Node>, YamlError> {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| YamlError::Syntax {
            line: error.marker().line() + first_line - 1,
            column: error.marker().col() + 1,
            text: error.info().to_owned(),
        })?;
        builder.take(event, line_of(span) + first_line - 1)?;
    }
    Ok(builder.root)
}

fn line_of(span: Span) -> usize {
    span.start.line()
}

impl Builder {
    fn take(&mut self, event: Event<'_>, line: usize) -> Result<(), YamlError> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_plain = scalar_type(style, tag.as_deref(), line)?;
                self.place(Node::Scalar { text: text.into_owned(), is_plain }, anchor, line)
            }
            Event::Alias(anchor) => {
                let anchored = self.anchors.get(&anchor).ok_or(YamlError::Endless { line })?;
                self.nodes += anchored.nodes;
                if self.nodes > NODES_MAX || self.open.len() + anchored.depth > DEPTH_MAX {
                    return Err(YamlError::TooLarge { line });
                }
                let node = anchored.node.clone();
                self.place(node, 0, line)
            }
            Event::SequenceStart(anchor, tag) => self.begin(false, anchor, tag.as_deref(), line),
            Event::MappingStart(anchor, tag) => self.begin(true, anchor, tag.as_deref(), line),
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::DocumentStart(_) if self.root.is_some() => Err(YamlError::Second { line }),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => Ok(()),
        }
    }

    fn begin(&mut self, is_map: bool, anchor: usize, tag: Option<&Tag>, line: usize) -> Result<(), YamlError> {
        if let Some(tag) = tag.filter(|tag| !(tag.is_yaml_core_schema() && ["map", "seq"].contains(&tag.suffix.as_str()))) {
            return Err(YamlError::Tag { line, tag: tag.to_string() });
        }
        if self.open.len() >= DEPTH_MAX {
            return Err(YamlError::TooLarge { line });
        }
        self.open.push(Open { anchor, line, is_map, key: None, items: Vec::new(), entries: Vec::new() });
        Ok(())
    }

    fn end(&mut self) -> Result<(), YamlError> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let node = if open.is_map { Node::Map(finished(open.entries, open.line)?) } else { Node::List(open.items) };
        self.place(node, open.anchor, open.line)
    }

    /// Puts a finished node where it belongs.
    fn place(&mut self, node: Node, anchor: usize, line: usize) -> Result<(), YamlError> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(YamlError::TooLarge { line });
        }
        if anchor > 0 {
            let (nodes, depth) = size(&node);
            drop(self.anchors.insert(anchor, Anchored { node: node.clone(), nodes, depth }));
        }
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(open) if !open.is_map => open.items.push(node),
            Some(open) => match open.key.take() {
                Some(key) => open.entries.push((key, node)),
                None if matches!(node, Node::Scalar { .. }) => open.key = Some(node),
                None => return Err(YamlError::Key { line }),
            },
        }
        Ok(())
    }
}

/// How many nodes a tree has, and how deep it is.
fn size(node: &Node) -> (usize, usize) {
    let below = |values: &mut dyn Iterator<Item = &Node>| {
        values.map(size).fold((1, 1), |(nodes, depth), (more, deep)| (nodes + more, depth.max(deep + 1)))
    };
    match node {
        Node::Scalar { .. } => (1, 0),
        Node::List(items) => below(&mut items.iter()),
        Node::Map(entries) => below(&mut entries.iter().flat_map(|(key, value)| [key, value])),
    }
}

/// Whether a scalar is as good as plain.
fn scalar_type(style: ScalarStyle, tag: Option<&Tag>, line: usize) -> Result<bool, YamlError> {
    match tag {
        None => Ok(style == ScalarStyle::Plain),
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => Ok(false),
        Some(tag) if tag.is_yaml_core_schema() && ["int", "float", "bool", "null"].contains(&tag.suffix.as_str()) => Ok(true),
        Some(tag) => Err(YamlError::Tag { line, tag: tag.to_string() }),
    }
}

/// A mapping's entries, merge keys resolved; its own keys win, then the first of those that are merged.
fn finished(entries: Vec<(Node, Node)>, line: usize) -> Result<Vec<(Node, Node)>, YamlError> {
    let is_merge = |key: &Node| matches!(key, Node::Scalar { text, is_plain: true } if text == "<<");
    let (merges, mut own): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(key, _)| is_merge(key));
    let text = |key: &Node| key.text().unwrap_or_default().to_owned();
    let mut seen = BTreeSet::new();
    if let Some((key, _)) = own.iter().find(|(key, _)| !seen.insert(text(key))) {
        return Err(YamlError::Repeated { line, key: text(key) });
    }
    for (_, merged) in merges {
        let sources = match merged {
            Node::List(items) => items,
            other => vec![other],
        };
        for source in sources {
            let Node::Map(entries) = source else { return Err(YamlError::Merge { line }) };
            own.extend(entries.into_iter().filter(|(key, _)| seen.insert(text(key))));
        }
    }
    Ok(own)
}
