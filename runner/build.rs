//! How the runner is linked.

fn main() {
    // A megabyte of relocations becomes a few pages, in memory too; glibc reads them since 2.36.
    println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    println!("cargo::rerun-if-changed=build.rs");
}
