//! The rules of the source: who may name whom, and what must not be in it. Formatting and everything else that a tool knows better
//! is left to the tools (`make fmt-check lint`).

mod layers;
mod mutants;
mod rules;
mod source;
