//! An image's archive: an OCI layout, which also carries the `manifest.json` of older Dockers.

use crate::{Error, Layer, layer::digest};
use oci_spec::image::{
    Arch, ConfigBuilder, Descriptor, DescriptorBuilder, Digest, ImageConfigurationBuilder, ImageManifestBuilder,
    MediaType, Os, PlatformBuilder, RootFsBuilder, SCHEMA_VERSION,
};
use serde_json::json;
use std::{fs, path::Path, str::FromStr};

/// An image.
#[derive(Clone, Debug)]
pub struct Image<'a> {
    /// Its full name, `registry/repository:tag`.
    pub name: &'a str,
    /// What it consists of, lowest first.
    pub layers: &'a [&'a Layer],
    /// The program that it runs, and its arguments.
    pub entrypoint: Vec<String>,
    /// `NAME=value`.
    pub environment: Vec<String>,
    /// `uid:gid`; empty is root.
    pub user: &'a str,
}

/// An archive that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The digest of the image's manifest.
    pub digest: String,
    /// Size of the archive in bytes.
    pub bytes: u64,
}

impl Image<'_> {
    /// Writes the archive, replacing one that is there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> Result<Written, Error> {
        let archive = self.archive()?;
        // The name appears when all of it is there.
        let unfinished = path.with_extension("unfinished");
        let failed = |source| Error::Write { path: path.to_owned(), source };
        fs::write(&unfinished, &archive.bytes).map_err(failed)?;
        fs::rename(&unfinished, path).map_err(failed)?;
        Ok(Written { digest: archive.manifest, bytes: archive.bytes.len() as u64 })
    }

    fn archive(&self) -> Result<Archive, Error> {
        let config = serde_json::to_vec(&self.config()?)?;
        let layers = self.layers.iter().map(|layer| describe(MediaType::ImageLayerGzip, &layer.blob));
        let manifest = ImageManifestBuilder::default()
            .schema_version(SCHEMA_VERSION)
            .media_type(MediaType::ImageManifest)
            .config(describe(MediaType::ImageConfig, &config)?)
            .layers(layers.collect::<Result<Vec<_>, _>>()?)
            .build()?;
        let manifest = serde_json::to_vec(&manifest)?;
        let index = serde_json::to_vec(&self.index(&manifest)?)?;
        let docker = serde_json::to_vec(&json!([{
            "Config": blob_path(&digest(&config)),
            "RepoTags": [self.name],
            "Layers": self.layers.iter().map(|layer| blob_path(&digest(&layer.blob))).collect::<Vec<_>>(),
        }]))?;

        let mut tar = tar::Builder::new(Vec::new());
        append(&mut tar, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        append(&mut tar, "index.json", &index)?;
        append(&mut tar, "manifest.json", &docker)?;
        let layers = self.layers.iter().map(|layer| layer.blob.as_slice());
        for blob in [manifest.as_slice(), config.as_slice()].into_iter().chain(layers) {
            append(&mut tar, &blob_path(&digest(blob)), blob)?;
        }
        Ok(Archive { bytes: tar.into_inner()?, manifest: digest(&manifest) })
    }

    fn config(&self) -> Result<oci_spec::image::ImageConfiguration, Error> {
        let run = ConfigBuilder::default()
            .user(self.user)
            .entrypoint(self.entrypoint.clone())
            .env(self.environment.clone())
            .working_dir("/")
            .build()?;
        let diff_ids: Vec<_> = self.layers.iter().map(|layer| layer.diff_id.clone()).collect();
        Ok(ImageConfigurationBuilder::default()
            .architecture(Arch::default())
            .os(Os::Linux)
            .created("1970-01-01T00:00:00Z")
            .config(run)
            .rootfs(RootFsBuilder::default().typ("layers").diff_ids(diff_ids).build()?)
            .history(Vec::new())
            .build()?)
    }

    fn index(&self, manifest: &[u8]) -> Result<serde_json::Value, Error> {
        let tag = self.name.rsplit_once(':').map_or("latest", |(_, tag)| tag);
        let mut image = describe(MediaType::ImageManifest, manifest)?;
        image.set_platform(Some(PlatformBuilder::default().architecture(Arch::default()).os(Os::Linux).build()?));
        let mut image = serde_json::to_value(image)?;
        // containerd takes the full name from the first, other tools the tag from the second. Not
        // set through oci-spec: its hash map writes them in another order each time.
        image["annotations"] = json!({
            "io.containerd.image.name": self.name,
            "org.opencontainers.image.ref.name": tag,
        });
        Ok(json!({ "schemaVersion": SCHEMA_VERSION, "mediaType": MediaType::ImageIndex, "manifests": [image] }))
    }
}

struct Archive {
    bytes: Vec<u8>,
    manifest: String,
}

fn describe(media_type: MediaType, blob: &[u8]) -> Result<Descriptor, Error> {
    let digest = Digest::from_str(&digest(blob))?;
    Ok(DescriptorBuilder::default().media_type(media_type).digest(digest).size(blob.len() as u64).build()?)
}

fn blob_path(digest: &str) -> String {
    format!("blobs/{}", digest.replacen(':', "/", 1))
}

fn append(tar: &mut tar::Builder<Vec<u8>>, path: &str, content: &[u8]) -> Result<(), Error> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(content.len() as u64);
    tar.append_data(&mut header, path, content).map_err(Error::from)
}
