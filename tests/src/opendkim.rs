//! `opendkim`, the real milter: it asks the name server for the key of each signature. In the mail server's network namespace, on `/run/milter`.
//!
//! In come the lab's folder and namespace, out comes a running process. It dies with the lab.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::netns::{Jail, Mount, Netns};
use crate::packages::{Packages, Set};
use crate::stop::Stop;

const SET: Set = Set { name: "opendkim", packages: &["opendkim"], programs: &["usr/sbin/opendkim"] };

/// What it needs to be there.
pub const SETS: &[Set] = &[SET];
/// Folder of its libraries.
pub const LIBRARIES: &str = "opendkim-libraries";

const START_LIMIT: Duration = Duration::from_secs(10);

/// Starts it and waits until it listens. `etc` has a `resolv.conf`.
pub fn start(dir: &Path, ns: &Netns, stop: &Stop) -> Result<Child> {
    let packages = Packages::of(SETS, LIBRARIES)?;
    let config = dir.join("opendkim.conf");
    std::fs::write(&config, "Mode v\nSocket local:/run/milter\nUMask 000\nBackground no\nSyslog no\nMilterDebug 0\nRequireSafeKeys no\nNameservers 10.99.0.1\nAlwaysAddARHeader yes\n").context("write opendkim.conf")?;
    let said = dir.join("opendkim.err");
    let stderr = File::create(&said).context("create opendkim.err")?;
    let mut command = packages.command(&packages.file(SET.name, "usr/sbin/opendkim"));
    command.args(["-f", "-x"]).arg(&config).current_dir("/").stdin(Stdio::null()).stdout(stderr.try_clone()?).stderr(stderr);
    let mounts = [("etc", "/etc"), ("run", "/run")].map(|(from, to)| Mount::Bind(dir.join(from), to.into()));
    Jail::new(ns).mounts(mounts.into()).apply(&mut command)?;
    let mut child = command.spawn().context("start opendkim")?;
    let end = Instant::now() + START_LIMIT;
    // The file system has an event for the socket, but it listens a moment later: a connection tells.
    while std::os::unix::net::UnixStream::connect(dir.join("run/milter")).is_err() {
        let error = || std::fs::read_to_string(&said).unwrap_or_default();
        if let Some(status) = child.try_wait().context("ask for opendkim's state")? {
            bail!("opendkim ended at its start ({status}): {}", error());
        }
        if Instant::now() >= end || !stop.pass(Duration::from_millis(5)) {
            bail!("opendkim does not listen: {}", error());
        }
    }
    Ok(child)
}
