//! Whoever prints into a program that has read enough ends with it, and says nothing.

use std::{
    env,
    io::{BufRead, BufReader},
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, Stdio},
};

#[test]
fn a_reader_that_goes_away_is_no_error() {
    // Where this is now, not where it was built.
    let own = env::current_exe().expect("this program's own path is known");
    let programs = own.parent().and_then(Path::parent).expect("tests are in a folder beside the programs");
    let mut child = Command::new(programs.join("tidemill"))
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
