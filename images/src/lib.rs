//! Container images written without a container engine: [`Tree`] is what an image's layer holds,
//! [`Layer`] its blob, [`Image`] the archive that containerd, Docker and Podman import.
//!
//! The same files give the same bytes: entries are sorted, times are zero, owners are root.

mod archive;
mod layer;
mod tree;

pub use archive::{Image, Written};
pub use layer::Layer;
pub use tree::Tree;

use std::path::PathBuf;

/// Why an image could not be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that goes into the image cannot be read.
    #[error("failed to read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file of the result cannot be written.
    #[error("failed to write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The archive cannot be put together.
    #[error("failed to put the archive together")]
    Archive(#[from] std::io::Error),
    /// The image's description is not one.
    #[error("failed to describe the image")]
    Describe(#[from] oci_spec::OciSpecError),
    /// The image's description cannot be written as JSON.
    #[error("failed to write the image's description")]
    Json(#[from] serde_json::Error),
}
