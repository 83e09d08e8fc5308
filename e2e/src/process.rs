//! Which processes there are, as `/proc` says.

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{fs, path::PathBuf};

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: i32,
    /// Its command line, for messages.
    pub command: String,
}

/// Processes whose command line, environment, folder or open files name one of the texts.
///
/// This process is not among them, and neither are those that have ended and wait to be reaped.
#[must_use]
pub fn naming(texts: &[&str]) -> Vec<Process> {
    let own = std::process::id() as i32;
    pids().filter(|pid| *pid != own && names(*pid, texts)).map(describe).collect()
}

/// The processes that `pid` has started, and those have started.
#[must_use]
pub fn descendants(pid: i32) -> Vec<Process> {
    let parents: Vec<(i32, i32)> = pids().filter_map(|pid| Some((pid, parent(pid)?))).collect();
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found.into_iter().skip(1).map(describe).collect()
}

/// What a process does, in the kernel's letter: `T` where it is stopped. None where it has ended, also
/// while it waits to be reaped.
#[must_use]
pub fn state(pid: i32) -> Option<char> {
    let (state, _) = state_and_parent(pid)?;
    Some(state).filter(|state| *state != 'Z' && *state != 'X')
}

/// Sends a signal to one process.
///
/// # Panics
/// When there is no such process.
pub fn signal(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).expect("the process is there");
}

/// CPU seconds that a process has had, in the kernel and outside.
///
/// # Panics
/// When there is no such process.
#[must_use]
pub fn cpu_seconds(pid: i32) -> f64 {
    // The kernel counts hundredths.
    const TICKS: f64 = 100.0;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    // After the name, which may have spaces and brackets of its own.
    let fields: Vec<&str> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
    fields[11..13].iter().map(|field| field.parse::<f64>().expect("a number")).sum::<f64>() / TICKS
}

/// A process's memory in MiB: `VmRSS` is what it has, `VmHWM` the most that it has had.
///
/// # Panics
/// When there is no such process.
#[must_use]
pub fn memory(pid: i32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find(|line| line.starts_with(field)).expect("the kernel tells");
    line.split_whitespace().nth(1).and_then(|size| size.parse::<u64>().ok()).expect("a number of KiB") >> 10
}

fn pids() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").expect("/proc is there");
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// The parent, where the process still runs.
fn parent(pid: i32) -> Option<i32> {
    state_and_parent(pid).filter(|(state, _)| *state != 'Z').map(|(_, parent)| parent)
}

fn state_and_parent(pid: i32) -> Option<(char, i32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may have spaces and brackets of its own.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

fn names(pid: i32, texts: &[&str]) -> bool {
    let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let link = |path: PathBuf| fs::read_link(path).map(|target| target.into_os_string().into_encoded_bytes());
    let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten().map(|entry| entry.path());
    let links = files.chain([PathBuf::from(format!("/proc/{pid}/cwd"))]).filter_map(|path| link(path).ok());
    let mut places = [read("cmdline"), read("environ")].into_iter().chain(links);
    places.any(|place| texts.iter().any(|text| contains(&place, text.as_bytes())))
}

fn contains(place: &[u8], text: &[u8]) -> bool {
    place.windows(text.len()).any(|window| window == text)
}

fn describe(pid: i32) -> Process {
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    Process { pid, command: String::from_utf8_lossy(&words).replace('\0', " ") }
}
