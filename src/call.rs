//! The life of a call.
mod arrival;
mod reply;
pub use arrival::{Arrival, Progress, ProgressSink};
pub use reply::{Annotations, Completion, Content, Media, Reply, ResourceBody};
