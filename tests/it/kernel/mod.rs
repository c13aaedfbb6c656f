//! The buffer on the real kernel: the order of its system calls, a volume that really fills up, allocated disk through long churn.

mod audit;
mod churn;
mod full_volume;
mod rules;
mod trace;
mod volume;
