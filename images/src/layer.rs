//! A layer's blob: the tar archive of a tree, compressed, known by both digests.

use crate::{Error, Tree};
use flate2::{Compression, write::GzEncoder};
use sha2::{Digest, Sha256};

/// A layer, ready to be part of any number of images.
#[derive(Clone, Debug)]
pub struct Layer {
    pub(crate) blob: Vec<u8>,
    /// Of the archive before compression, as an image's configuration names it.
    pub(crate) diff_id: String,
}

impl Layer {
    /// Reads the files of a tree.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn new(tree: &Tree) -> Result<Self, Error> {
        let mut archive = Vec::new();
        tree.write_tar(&mut archive)?;
        // Speed counts for more than the last tenth of size: images are made for each test run.
        let mut blob = GzEncoder::new(Vec::new(), Compression::fast());
        std::io::Write::write_all(&mut blob, &archive)?;
        Ok(Self { blob: blob.finish()?, diff_id: digest(&archive) })
    }
}

/// `sha256:…` of a blob.
pub(crate) fn digest(blob: &[u8]) -> String {
    format!("sha256:{:x}", Sha256::digest(blob))
}
