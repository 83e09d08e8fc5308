//! Whoever prints into a program that has read enough ends with it, and says nothing.

use std::{
    io::{BufRead, BufReader},
    os::unix::process::ExitStatusExt,
    process::{Command, Stdio},
};

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tidemill"))
        .arg("crds")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("tidemill starts");
    let mut first = String::new();
    let mut reader = BufReader::with_capacity(64, child.stdout.take().expect("it is piped"));
    reader.read_line(&mut first).expect("it prints");
    drop(reader);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(first, "---\n");
    // SIGPIPE: what is printed is more than a pipe holds.
    assert_eq!(output.status.signal(), Some(13), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
