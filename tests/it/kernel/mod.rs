//! The buffer on the real kernel: the order of its system calls, a volume that really fills up, allocated disk through long churn,
//! and as little memory as a container may have.

mod audit;
mod cgroup;
mod churn;
mod full_volume;
mod memory;
mod rules;
mod trace;
mod volume;
