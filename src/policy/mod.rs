//! Policy.
mod ground;
pub use ground::{Ground, PolicyRef};
