//! Stage 1: applications hand events in.
