//! The shell of a long-lived process: threads, logs, metrics, admin listener, shutdown, children.
//!
//! Nothing here knows a Tidemill resource, so every program can use all of it.

pub mod admin;
mod allocator;
pub mod child;
pub mod logging;
pub mod metrics;
pub mod runtime;
pub mod shutdown;
