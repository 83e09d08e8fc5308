//! What the end-to-end tests share: real services, real programs, and waits that end with the
//! condition they wait for.
//!
//! Helpers panic where they cannot do what they are for: in a test that is the result. What they
//! start ends with the test, passed or failed.

pub mod bed;
pub mod confluent;
pub mod disk;
pub mod failing;
pub mod faults;
pub mod figures;
pub mod go;
pub mod kube;
pub mod language;
pub mod letter;
pub mod market;
pub mod node;
pub mod pods;
pub mod process;
pub mod python;
pub mod runner;
pub mod scene;
pub mod secured;
pub mod tally;
pub mod up;
pub mod wait;
