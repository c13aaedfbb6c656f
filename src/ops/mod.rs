//! Stage 5: people and Kubernetes look in.
