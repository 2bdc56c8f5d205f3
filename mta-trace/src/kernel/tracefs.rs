//! tracefs, where tracepoints have their numbers. Where none is mounted, one is mounted in a private mount namespace of our
//! own, invisible to the system. Must run before any thread starts and after the output file was opened.

use super::Error;
use rustix::{
    mount::{MountFlags, MountPropagationFlags, mount, mount_change},
    thread::{UnshareFlags, unshare_unsafe},
};
use std::{io, path::Path};

const PLACES: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// Makes sure that tracefs can be read.
pub fn prepare() -> Result<(), Error> {
    if PLACES.iter().any(|place| Path::new(place).join("events").exists()) {
        return Ok(());
    }
    mount_privately().map_err(|error| {
        let error = io::Error::from(error);
        if error.kind() == io::ErrorKind::PermissionDenied {
            Error::NotPermitted { what: "mounting tracefs in a private mount namespace".into() }
        } else {
            Error::NoTracefs(error)
        }
    })
}

#[expect(unsafe_code, reason = "unshare of the mount namespace")]
fn mount_privately() -> rustix::io::Result<()> {
    // SAFETY: only the mount namespace is unshared; descriptors stay as they are.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS)? };
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    mount("nodev", "/sys/kernel/tracing", "tracefs", MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC, None)
}
