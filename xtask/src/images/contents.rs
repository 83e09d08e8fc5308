//! What an image holds. The base layer is the same for all, so that a node keeps it once.

use anyhow::{Context, Result, bail};
use std::{
    path::{Path, PathBuf},
    process::Command,
};
use tidemill_images::Tree;

/// Who the programs run as.
pub const USER: &str = "65532:65532";

const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";
const PASSWD: &str = "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n";
const GROUP: &str = "root:x:0:\nnonroot:x:65532:\n";
/// Libraries that programs share: they are in the base layer, others beside the program.
const COMMON: [&str; 3] = ["libc.so.6", "libm.so.6", "libgcc_s.so.1"];
const LOADER: &str = "ld-linux-x86-64.so.2";

/// The C library, the certificates of public authorities, and the users.
pub fn base() -> Result<Tree> {
    let tree = Tree::default()
        .copy(CERTIFICATES, CERTIFICATES, 0o644)
        .text("/etc/passwd", PASSWD)
        .text("/etc/group", GROUP)
        .folder("/tmp", 0o1777);
    // This program links the C library too, and the others are beside it.
    let own = libraries(&std::env::current_exe().context("this program's own path is unknown")?)?;
    let loader = own.iter().find(|library| library.ends_with(LOADER)).context("this program has no loader")?;
    let libc = own.iter().find(|library| library.ends_with("libc.so.6")).context("this program has no C library")?;
    let common = COMMON.map(|name| libc.with_file_name(name));
    Ok(common.iter().chain([loader]).fold(tree, |tree, library| tree.copy(library, library, 0o755)))
}

/// The program at its place, and the libraries that not all link.
pub fn program(program: &Path, place: &str) -> Result<Tree> {
    let libraries = libraries(program)?.into_iter().filter(|library| !is_common(library));
    let tree = Tree::default().copy(place, program, 0o755);
    Ok(libraries.fold(tree, |tree, library| tree.copy(&library, &library, 0o755)))
}

fn is_common(library: &Path) -> bool {
    COMMON.iter().chain([&LOADER]).any(|common| library.ends_with(common))
}

/// The shared libraries that the program is loaded with, its loader among them.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(program).output().context("failed to start ldd (Debian: libc-bin)")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if let Some(missing) = text.lines().find(|line| line.contains("not found")) {
        bail!("{} needs a library that is not here: {}", program.display(), missing.trim());
    }
    Ok(parse(&text))
}

/// ```text
///     libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f…)
///     /lib64/ld-linux-x86-64.so.2 (0x00007f…)
/// ```
fn parse(ldd: &str) -> Vec<PathBuf> {
    let paths = ldd.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    paths.map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_has_what_is_left_out_beside_a_program() {
        let folder = tempfile::tempdir().expect("a folder");
        base().expect("the base").unpack(folder.path()).expect("its files");
        // Tests link the C library; programs beyond it libm and libgcc_s.
        let libc = libraries(&std::env::current_exe().expect("a program")).expect("its libraries");
        let libc = libc.iter().find(|library| library.ends_with("libc.so.6")).expect("the C library");
        for name in COMMON {
            let path = folder.path().join(libc.with_file_name(name).strip_prefix("/").expect("an absolute path"));
            assert!(path.is_file(), "{} is missing", path.display());
        }
    }

    #[test]
    fn libraries_are_read_from_what_ldd_says() {
        let text =
            "\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x2)\n\t/lib64/ld-linux-x86-64.so.2 (0x3)\n";
        assert_eq!(parse(text), ["/lib/x/libc.so.6", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from));
    }
}
