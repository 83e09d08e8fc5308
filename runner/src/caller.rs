//! The process at the other end of a connection, by the socket that it holds.
//!
//! A pod's containers share their processes and their user, so that a process of another container can be known,
//! its end be noticed, and be ended itself: by its handle, since its number may be another's by then.

use procfs::process::FDTarget;
use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use std::{io, net::SocketAddr, os::fd::OwnedFd};
use tokio::io::{Interest, unix::AsyncFd};

/// A process that has called.
pub struct Process {
    /// Its number while it lives.
    pub pid: i32,
    handle: AsyncFd<OwnedFd>,
}

impl Process {
    /// Who calls that port from there; `None` where nobody is found, as behind another user.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn calling(port: u16, caller: SocketAddr) -> io::Result<Option<Self>> {
        let other = |error: procfs::ProcError| io::Error::other(error);
        // A kernel without IPv6 has no table of its connections.
        let over_v6 = procfs::net::tcp6().unwrap_or_default();
        let connections = procfs::net::tcp().map_err(other)?.into_iter().chain(over_v6);
        let same = |address: SocketAddr| address.port() == caller.port() && address.ip().to_canonical() == caller.ip();
        // Connections to other ports may begin at the same one.
        let mut calls = connections.filter(|entry| entry.remote_address.port() == port && same(entry.local_address));
        let Some(socket) = calls.next() else { return Ok(None) };
        let own = i32::try_from(std::process::id()).unwrap_or_default();
        for process in procfs::process::all_processes().map_err(other)?.flatten().filter(|process| process.pid != own) {
            let Ok(open) = process.fd() else { continue }; // Another user's, or gone meanwhile.
            if open.flatten().any(|file| matches!(file.target, FDTarget::Socket(inode) if inode == socket.inode)) {
                let pid = Pid::from_raw(process.pid).ok_or_else(|| io::Error::other("a process has the pid 0"))?;
                let handle = watched(pidfd_open(pid, PidfdFlags::empty())?)?;
                return Ok(Some(Self { pid: process.pid, handle }));
            }
        }
        Ok(None)
    }

    /// Returns once it has ended.
    pub async fn ended(&self) {
        // Readable from then on.
        drop(self.handle.ready(Interest::READABLE).await);
    }

    /// Ends it, where it has not ended.
    ///
    /// # Errors
    /// When it may not be ended.
    pub fn kill(&self) -> io::Result<()> {
        match pidfd_send_signal(self.handle.get_ref(), Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

#[expect(deprecated, reason = "an OwnedFd stays open for as long as it is owned; the other call is unsafe")]
fn watched(handle: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(handle, Interest::READABLE)
}
