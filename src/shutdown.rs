//! Signals, the ordered phases, one deadline.
