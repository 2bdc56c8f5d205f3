//! `unbound`, a real resolver on the mail server's own machine: it listens on 127.0.0.1, and asks the lab's name server for everything.
//!
//! In come the lab's folder, namespace and name server, out comes a running process. It dies with the lab.

use std::fs::File;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::netns::{Jail, Netns};
use crate::packages::{Packages, Set};
use crate::stop::Stop;

const SET: Set = Set { name: "unbound", packages: &["unbound"], programs: &["usr/sbin/unbound"] };

/// What it needs to be there.
pub const SETS: &[Set] = &[SET];
/// Folder of its libraries.
pub const LIBRARIES: &str = "unbound-libraries";
/// Where it listens.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::LOCALHOST;

const START_LIMIT: Duration = Duration::from_secs(10);

/// Starts it and waits until it listens.
pub fn start(dir: &Path, ns: &Netns, server: &str, stop: &Stop) -> Result<Child> {
    let packages = Packages::of(SETS, LIBRARIES)?;
    let config = dir.join("unbound.conf");
    let text = format!(
        "server:\n interface: {ADDRESS}\n username: \"\"\n chroot: \"\"\n directory: \"/\"\n pidfile: \"\"\n do-daemonize: no\n use-syslog: no\n \
         module-config: \"iterator\"\n do-not-query-localhost: no\n num-threads: 1\n do-ip6: no\nremote-control:\n control-enable: no\n\
         forward-zone:\n name: \".\"\n forward-addr: {server}\n"
    );
    std::fs::write(&config, text).context("write unbound.conf")?;
    let said = dir.join("unbound.err");
    let stderr = File::create(&said).context("create unbound.err")?;
    let mut command = packages.command(&packages.file(SET.name, "usr/sbin/unbound"));
    command.args(["-d", "-p", "-c"]).arg(&config).current_dir("/").stdin(Stdio::null()).stdout(stderr.try_clone()?).stderr(stderr);
    Jail::new(ns).apply(&mut command)?;
    let mut child = command.spawn().context("start unbound")?;
    let end = Instant::now() + START_LIMIT;
    while !listens(child.id()) {
        let error = || std::fs::read_to_string(&said).unwrap_or_default();
        if let Some(status) = child.try_wait().context("ask for unbound's state")? {
            bail!("unbound ended at its start ({status}): {}", error());
        }
        if Instant::now() >= end || !stop.pass(Duration::from_millis(5)) {
            bail!("unbound does not listen: {}", error());
        }
    }
    Ok(child)
}

/// Whether port 53 of 127.0.0.1 is bound in the process's network namespace (`/proc/PID/net/udp`).
fn listens(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/net/udp")).is_ok_and(|text| text.contains(" 0100007F:0035 "))
}
