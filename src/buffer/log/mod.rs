//! The mechanism under the buffer: segments, frames, the cursor, recovery. Stores, and decides nothing.
