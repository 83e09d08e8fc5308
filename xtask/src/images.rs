//! Images of the programs, from `target/release`: what a program links is copied from this
//! machine, so that an image holds what the program was built and tested with.

mod contents;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use std::{
    fs,
    path::{Path, PathBuf},
};
use tidemill_images::{Image, Layer, Written};

/// What is written, and where.
#[derive(clap::Args)]
pub struct Args {
    /// Only these images; a program that is not built is then left out with a note.
    #[arg(long, num_args = 1.., value_name = "NAME")]
    only: Vec<String>,
    /// Where to write; `target/images` unless given.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// An archive for each image, or its files in a folder for a builder to copy.
    #[arg(long, value_enum, default_value = "archive")]
    layout: Layout,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Layout {
    Archive,
    Unpacked,
}

/// One image.
struct Spec {
    name: &'static str,
    /// The file in `target/release`.
    program: &'static str,
    /// Where it is in the image.
    path: Place,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// `/usr/bin/<program>`.
    Program,
    /// `/var/task/bootstrap`, as Lambda has it.
    Function,
}

const IMAGES: [Spec; 9] = [
    Spec { name: "operator", program: "tidemill-operator", path: Place::Program },
    Spec { name: "runner", program: "tidemill-runner", path: Place::Program },
    Spec { name: "edge", program: "tidemill-edge", path: Place::Program },
    Spec { name: "crawl", program: "crawl", path: Place::Function },
    Spec { name: "normalize", program: "normalize", path: Place::Function },
    Spec { name: "nlp", program: "nlp", path: Place::Function },
    Spec { name: "aggregate", program: "aggregate", path: Place::Function },
    Spec { name: "notify", program: "notify", path: Place::Function },
    // Of the end-to-end tests.
    Spec { name: "echo", program: "echo", path: Place::Function },
];

/// Writes the images, and prints name, digest and size of each.
pub fn run(root: &Path, args: &Args) -> Result<()> {
    let release = root.join("target/release");
    let out = args.out.clone().unwrap_or_else(|| root.join("target/images"));
    fs::create_dir_all(&out).with_context(|| format!("failed to make {}", out.display()))?;
    let base = contents::base()?;
    let base_layer = Layer::new(&base)?;
    for spec in selected(&args.only)? {
        let program = release.join(spec.program);
        if !program.is_file() {
            if args.only.is_empty() {
                bail!("{} is not built: run `make build`, or name the images with --only", program.display());
            }
            eprintln!("images: {} is not built: {} is left out", program.display(), spec.name);
            continue;
        }
        match args.layout {
            Layout::Archive => {
                let written = spec.write(&program, &base_layer, &out)?;
                println!("{} {} {:.1} MB", spec.full_name(), written.digest, written.bytes as f64 / 1e6);
            }
            Layout::Unpacked => {
                let folder = out.join(spec.name);
                if folder.exists() {
                    fs::remove_dir_all(&folder).with_context(|| format!("failed to empty {}", folder.display()))?;
                }
                base.unpack(&folder)?;
                contents::program(&program, &spec.place())?.unpack(&folder)?;
                println!("{}", folder.display());
            }
        }
    }
    Ok(())
}

fn selected(only: &[String]) -> Result<Vec<&'static Spec>> {
    if only.is_empty() {
        return Ok(IMAGES.iter().collect());
    }
    let known = || IMAGES.map(|spec| spec.name).join(", ");
    only.iter()
        .map(|name| {
            let found = IMAGES.iter().find(|spec| spec.name == name);
            found.with_context(|| format!("there is no image {name}: there are {}", known()))
        })
        .collect()
}

impl Spec {
    fn full_name(&self) -> String {
        format!("docker.io/tidemill/{}:{}", self.name, env!("CARGO_PKG_VERSION"))
    }

    fn place(&self) -> String {
        match self.path {
            Place::Program => format!("/usr/bin/{}", self.program),
            Place::Function => "/var/task/bootstrap".to_owned(),
        }
    }

    fn write(&self, program: &Path, base: &Layer, out: &Path) -> Result<Written> {
        let own = Layer::new(&contents::program(program, &self.place())?)?;
        let mut environment = vec!["PATH=/usr/bin:/bin".to_owned()];
        if self.path == Place::Function {
            environment.push("LAMBDA_TASK_ROOT=/var/task".to_owned());
        }
        let name = self.full_name();
        let image = Image {
            name: &name,
            layers: &[base, &own],
            entrypoint: vec![self.place()],
            environment,
            user: contents::USER,
        };
        image
            .write(&out.join(format!("{}.tar", self.name)))
            .with_context(|| format!("failed to write the image {name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_runs_give_the_same_image() {
        // Any program that is there does.
        let program = std::env::current_exe().expect("a test knows its program");
        let write = || {
            let out = tempfile::tempdir().expect("a folder");
            let base = Layer::new(&contents::base().expect("the base layer's files")).expect("the base layer");
            let written = IMAGES[3].write(&program, &base, out.path()).expect("the image");
            (written, fs::read(out.path().join("crawl.tar")).expect("the archive"))
        };
        let (first, second) = (write(), write());
        assert_eq!(first.0, second.0);
        assert!(first.1 == second.1, "the archives differ");
    }

    #[test]
    fn an_unknown_image_is_named_with_those_that_there_are() {
        let error = selected(&["crawler".to_owned()]).err().expect("an error").to_string();
        assert!(error.contains("no image crawler") && error.contains("crawl, normalize"), "{error}");
    }
}
