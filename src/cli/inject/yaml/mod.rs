//! YAML as manifests have it: a tree that forgets nothing that a cluster could see.
//!
//! A scalar keeps its text and whether it was plain, and is written back so: `0440`, `1.10`, `yes` and `"yes"` mean to each reader
//! what they meant before, whatever version of YAML it reads. Anchors, aliases and merge keys become what they stand for. Keys keep
//! their order. Deliberately absent: comments inside a document, and types.

mod emit;
mod parse;
mod stream;

pub(super) use emit::emit;
pub(super) use parse::{YamlError, parse};
pub(super) use stream::{Document, split};

/// A node of a document.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    /// A text, number, boolean or null.
    Scalar {
        /// Unquoted.
        text: String,
        /// Without quotes, so that its text says what type it is.
        is_plain: bool,
    },
    /// A sequence.
    List(Vec<Node>),
    /// A mapping.
    Map(Vec<(Node, Node)>),
}

impl Node {
    /// A string.
    pub(super) fn string(text: impl Into<String>) -> Self {
        Self::Scalar { text: text.into(), is_plain: false }
    }

    /// What needs no quotes: a number, a boolean, a name that can be nothing else.
    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self::Scalar { text: text.into(), is_plain: true }
    }

    /// A mapping with these keys.
    pub(super) fn map<const N: usize>(entries: [(&str, Node); N]) -> Self {
        Self::Map(entries.into_iter().map(|(key, value)| (Self::plain(key), value)).collect())
    }

    /// The text of a scalar.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Whether it is what an empty value means: `key:`, `null`, `~`.
    pub(super) fn is_null(&self) -> bool {
        matches!(self, Self::Scalar { text, is_plain: true } if ["", "null", "~"].contains(&text.as_str()))
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        let Self::Map(entries) = self else { return None };
        entries.iter().find(|(name, _)| name.text() == Some(key)).map(|(_, value)| value)
    }

    /// The value of a key, to change.
    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        let Self::Map(entries) = self else { return None };
        entries.iter_mut().find(|(name, _)| name.text() == Some(key)).map(|(_, value)| value)
    }

    /// The text at a path of keys.
    pub(super) fn text_at(&self, path: &[&str]) -> Option<&str> {
        path.iter().try_fold(self, |node, key| node.get(key))?.text()
    }

    /// Sets a key in its place, or behind the others. Nothing happens to what is no mapping.
    pub(super) fn set(&mut self, key: &str, value: Node) {
        if let Some(there) = self.get_mut(key) {
            *there = value;
        } else if let Self::Map(entries) = self {
            entries.push((Self::plain(key), value));
        }
    }

    /// Takes a key out.
    pub(super) fn remove(&mut self, key: &str) {
        if let Self::Map(entries) = self {
            entries.retain(|(name, _)| name.text() != Some(key));
        }
    }

    /// The mapping of a key, made when there is none; `None` when something else is there.
    pub(super) fn map_of(&mut self, key: &str) -> Option<&mut Node> {
        if self.get(key).is_none_or(Node::is_null) {
            self.set(key, Self::Map(Vec::new()));
        }
        self.get_mut(key).filter(|node| matches!(node, Self::Map(_)))
    }

    /// The list of a key, made when there is none; `None` when something else is there.
    pub(super) fn list_of(&mut self, key: &str) -> Option<&mut Vec<Node>> {
        if self.get(key).is_none_or(Node::is_null) {
            self.set(key, Self::List(Vec::new()));
        }
        match self.get_mut(key) {
            Some(Self::List(items)) => Some(items),
            _ => None,
        }
    }

    /// The items of a key's list; none when there is no list.
    pub(super) fn items(&self, key: &str) -> &[Node] {
        match self.get(key) {
            Some(Self::List(items)) => items,
            _ => &[],
        }
    }

    /// Takes a key out when its list is empty.
    pub(super) fn remove_if_empty(&mut self, key: &str) {
        if matches!(self.get(key), Some(Self::List(items)) if items.is_empty()) {
            self.remove(key);
        }
    }

    /// Its `name`.
    pub(super) fn name(&self) -> Option<&str> {
        self.text_at(&["name"])
    }
}

#[cfg(test)]
mod tests;
