//! A function that is a zip in S3: fetched, checked against its digest, unpacked.
//!
//! What was unpacked is kept under its digest, so that a container that starts again fetches
//! nothing; a folder is complete or not there, since it is renamed into its place.

use crate::archive;
use anyhow::{Context, Result, bail, ensure};
use backon::{ExponentialBuilder, Retryable};
use object_store::{ObjectStoreExt, path::Path as Key};
use sha2::{Digest, Sha256};
use std::{
    fs,
    io::Cursor,
    path::{Path, PathBuf},
    time::Duration,
};
use tidemill_api::S3Object;
use tracing::{info, warn};

/// The program that a package must have.
const PROGRAM: &str = "bootstrap";
/// The largest package unpacked, in bytes, as for Lambda.
const LARGEST: u64 = 250 << 20;

/// The folder of the unpacked package, in `cache`.
///
/// # Errors
/// When S3 does not have it or refuses, when its digest is another, or when it is no such zip.
pub async fn ready(object: &S3Object, cache: &Path) -> Result<PathBuf> {
    let folder = cache.join(&object.sha256);
    if folder.is_dir() {
        return Ok(folder);
    }
    let place = format!("s3://{}/{}", object.bucket, object.key);
    let again = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(200))
        .with_max_delay(Duration::from_secs(5))
        .with_max_times(6)
        .with_jitter();
    let zip = (|| fetch(object))
        .retry(again)
        .when(|error| !matches!(error.downcast_ref(), Some(object_store::Error::NotFound { .. })))
        .notify(|error, pause| warn!(%error, retry_in = ?pause, "the package could not be fetched"))
        .await
        .with_context(|| format!("failed to fetch {place}"))?;
    let unpacked = folder.clone();
    let (object, bytes) = (object.clone(), zip.len());
    tokio::task::spawn_blocking(move || unpack(&zip, &object.sha256, &unpacked))
        .await?
        .with_context(|| format!("{place} cannot be run"))?;
    info!(package = place, bytes, "package ready");
    Ok(folder)
}

async fn fetch(object: &S3Object) -> Result<Vec<u8>> {
    let found = archive::bucket(&object.bucket)?.get(&Key::parse(&object.key)?).await?;
    Ok(found.bytes().await?.to_vec())
}

/// Checks the zip and unpacks it into `folder`, which is there only when all went well.
fn unpack(zip: &[u8], sha256: &str, folder: &Path) -> Result<()> {
    let found: String = Sha256::digest(zip).iter().map(|byte| format!("{byte:02x}")).collect();
    ensure!(found == sha256, "its SHA-256 is {found}, and the manifest says {sha256}: set `package.s3.sha256`");
    let mut archive = zip::ZipArchive::new(Cursor::new(zip)).context("it is not a zip")?;
    ensure!(
        archive.decompressed_size().is_none_or(|bytes| bytes <= u128::from(LARGEST)),
        "unpacked it would be larger than {} MiB",
        LARGEST >> 20
    );
    let partial = folder.with_extension("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    fs::create_dir_all(&partial).with_context(|| format!("failed to make {}", partial.display()))?;
    archive.extract(&partial).context("failed to unpack it")?;
    let program = partial.join(PROGRAM);
    if !program.is_file() {
        bail!("it has no file named `{PROGRAM}` at its top");
    }
    make_executable(&program)?;
    fs::rename(&partial, folder)?;
    Ok(())
}

/// A zip made on another system may have lost the mode.
fn make_executable(program: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(program)?.permissions().mode();
    fs::set_permissions(program, fs::Permissions::from_mode(mode | 0o555))?;
    Ok(())
}

/// The command of an unpacked package.
#[must_use]
pub fn command(folder: &Path) -> Vec<String> {
    vec![folder.join(PROGRAM).display().to_string()]
}

#[cfg(test)]
mod tests {
    use super::unpack;
    use sha2::{Digest, Sha256};
    use std::io::Write;

    fn zip(name: &str) -> (Vec<u8>, String) {
        let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        writer.start_file(name, zip::write::SimpleFileOptions::default()).expect("a file in the zip");
        writer.write_all(b"#!/bin/sh\n").expect("its text");
        let bytes = writer.finish().expect("a zip").into_inner();
        let digest = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        (bytes, digest)
    }

    fn check(bytes: &[u8], digest: &str, refused: Option<&str>) {
        let cache = tempfile::tempdir().expect("a folder");
        let folder = cache.path().join("package");
        let result = unpack(bytes, digest, &folder).map_err(|error| format!("{error:#}"));
        match refused {
            None => assert!(result.is_ok() && folder.join("bootstrap").is_file(), "{result:?}"),
            Some(words) => {
                assert!(result.as_ref().is_err_and(|text| text.contains(words)), "{result:?}");
                assert!(!folder.exists(), "nothing half done is left in its place");
            }
        }
    }

    #[test]
    fn only_the_right_zip_is_unpacked() {
        let (good, digest) = zip("bootstrap");
        let (other, other_digest) = zip("main.py");
        let (escaping, escaping_digest) = zip("../bootstrap");
        check(&good, &digest, None);
        check(&good, &other_digest, Some("SHA-256"));
        check(&other, &other_digest, Some("`bootstrap`"));
        check(&escaping, &escaping_digest, Some(""));
        check(
            &good[..20],
            &Sha256::digest(&good[..20]).iter().map(|b| format!("{b:02x}")).collect::<String>(),
            Some("zip"),
        );
    }
}
