//! What happened, in order: a hash of all of it, and the words when somebody wants to read them.

use crate::chance::mix;

#[derive(Default)]
pub struct Trace {
    hash: u64,
    steps: u64,
    words: Option<Vec<String>>,
}

impl Trace {
    pub fn new(keep_words: bool) -> Self {
        Self { hash: 1, steps: 0, words: keep_words.then(Vec::new) }
    }

    /// Something happened; `numbers` say to whom.
    pub fn note(&mut self, what: &str, numbers: &[u64]) {
        self.steps += 1;
        let what_hash = what.bytes().fold(0, |hash, byte| mix(hash ^ u64::from(byte)));
        self.hash = numbers.iter().fold(mix(self.hash ^ what_hash), |hash, number| mix(hash ^ number));
        if let Some(words) = &mut self.words {
            words.push(format!("{:>7} {what} {numbers:?}", self.steps));
        }
    }

    pub fn hash(&self) -> u64 {
        self.hash
    }

    pub fn words(&self) -> &[String] {
        self.words.as_deref().unwrap_or_default()
    }
}
