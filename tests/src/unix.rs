//! Unix sockets in folders whose path may be longer than the 107 bytes that a socket address holds.
//!
//! The folder is opened and the socket bound below `/proc/self/fd/N`, so only the name counts.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;

use anyhow::{Context, Result};

/// Listens on a stream socket.
pub fn bind_stream(dir: &Path, name: &str) -> Result<UnixListener> {
    bind(dir, name, |path| UnixListener::bind(path))
}

/// Opens a datagram socket.
pub fn bind_datagram(dir: &Path, name: &str) -> Result<UnixDatagram> {
    bind(dir, name, |path| UnixDatagram::bind(path))
}

fn bind<T>(dir: &Path, name: &str, make: impl FnOnce(&str) -> std::io::Result<T>) -> Result<T> {
    std::fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    let folder = File::open(dir).with_context(|| format!("open {}", dir.display()))?;
    let path = format!("/proc/self/fd/{}/{name}", folder.as_raw_fd());
    // Left by an earlier run that was killed.
    let _ = std::fs::remove_file(&path);
    let socket = make(&path).with_context(|| format!("bind {}/{name}", dir.display()))?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).with_context(|| format!("chmod {name}"))?;
    Ok(socket)
}
