//! A Schema Registry: Apicurio, in memory, with Confluent's API under `/apis/ccompat/v7`.

use crate::{cache, daemon::Daemon, programs::run};
use anyhow::{Context, Result};
use std::{fs, path::PathBuf, process::Command, time::Duration};

const POM: &str = include_str!("../registry/pom.xml");
const VERSION: &str = "2.6.13.Final";

/// The registry of the testbed, port 28081.
///
/// # Errors
/// When the cache folder is unknown.
pub fn service() -> Result<Daemon> {
    Daemon::new("registry", 28_081)
}

/// Its URL as Confluent's clients take it.
#[must_use]
pub fn url(registry: &Daemon) -> String {
    format!("http://{}/apis/ccompat/v7", registry.address)
}

/// Starts it, where it does not run.
///
/// # Errors
/// When it cannot be fetched or does not start.
pub fn start() -> Result<Daemon> {
    let registry = service()?;
    if registry.pid().is_none() {
        let program = install()?.join(format!("apicurio-registry-app-{VERSION}-runner.jar"));
        let arguments = [
            "-Xmx300m".to_owned(),
            "-XX:+UseSerialGC".to_owned(),
            "-XX:TieredStopAtLevel=1".to_owned(),
            format!("-Dquarkus.http.host={}", registry.address.ip()),
            format!("-Dquarkus.http.port={}", registry.address.port()),
            format!("-Djava.io.tmpdir={}", registry.folder().display()),
            "-jar".to_owned(),
            program.display().to_string(),
        ];
        registry.start("java", &arguments, Duration::from_secs(60))?;
    }
    Ok(registry)
}

fn install() -> Result<PathBuf> {
    let folder = cache()?.join(format!("apicurio-registry-{VERSION}"));
    let program = folder.join("app");
    if !folder.join("complete").is_file() {
        eprintln!("testbed: fetching Apicurio Registry {VERSION} into {}", folder.display());
        fs::create_dir_all(&folder)?;
        let pom = folder.join("pom.xml");
        fs::write(&pom, POM)?;
        run(Command::new("mvn")
            .args(["-q", "-B", "-f"])
            .arg(&pom)
            .arg("dependency:unpack-dependencies")
            .arg(format!("-DoutputDirectory={}", program.display())))
        .context("failed to fetch the registry: is Maven installed (Debian: apt-get install maven)?")?;
        fs::write(folder.join("complete"), "")?;
    }
    Ok(program)
}
