//! A real MTA, in the foreground, in its own mount, UTS and network namespaces.
//!
//! In come which one, the scenario and a namespace, out come a listening daemon and its pid. Its syslog goes to `NAME.log`, its
//! stderr to `NAME.err`. It is ready when the kernel lists its sockets as listening and it says so itself, and it dies with the lab.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::chown;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::{Mta, etc};
use crate::disk::Disk;
use crate::load_average;
use crate::netns::{Jail, Mount, Netns};
use crate::packages::Packages;
use crate::scenario::Scenario;
use crate::stop::Stop;

/// How long an MTA may take to listen; sendmail canonifies its own name first.
const START_LIMIT: Duration = Duration::from_secs(30);

/// The running daemon.
pub struct Daemon {
    mta: &'static dyn Mta,
    child: Child,
}

impl Daemon {
    /// Writes its `/etc` into `dir`, starts it and waits until it listens.
    pub fn start(
        mta: &'static dyn Mta,
        dir: &Path,
        ns: &Netns,
        scenario: &Scenario,
        packages: &Packages,
        disk: Option<&Disk>,
        stop: &Stop,
    ) -> Result<Self> {
        etc::write_etc(&dir.join("etc"), mta, scenario, packages)?;
        let mounts = mounts(dir, mta, disk)?;
        capture_syslog(dir, mta, stop)?;
        let stderr = File::create(err_file(dir, mta)).context("create a file for what it says")?;
        let mut command = mta.command(scenario, packages);
        command.current_dir("/").stdout(stderr.try_clone()?).stderr(stderr);
        // Ctrl-C is for whoever watches, not for the daemon.
        command.stdin(Stdio::null()).process_group(0);
        Jail::new(ns).hostname(etc::HOSTNAME).mounts(mounts).apply(&mut command)?;
        let child = command.spawn().with_context(|| format!("start {}", mta.name()))?;
        let mut daemon = Self { mta, child };
        // It is mounted by now: the child has been executed.
        disk.map_or(Ok(()), Disk::serve)?;
        daemon.wait_listening(dir, mta.sockets(scenario), stop)?;
        Ok(daemon)
    }

    /// Its pid, the same inside and outside.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its processes that serve a session now.
    pub fn serving(&self) -> Vec<u32> {
        self.mta.serving(self.pid())
    }

    fn wait_listening(&mut self, dir: &Path, sockets: usize, stop: &Stop) -> Result<()> {
        let (name, end) = (self.mta.name(), Instant::now() + START_LIMIT);
        let said = err_file(dir, self.mta);
        // The kernel has no event for "somebody listens"; /proc is asked every 5 ms.
        while listening(self.pid()) < sockets || !self.mta.is_ready(self.pid()) {
            let error = || std::fs::read_to_string(&said).unwrap_or_default();
            if let Some(status) = self.child.try_wait().with_context(|| format!("ask for {name}'s state"))? {
                bail!("{name} ended at its start ({status}): {}", error());
            }
            if Instant::now() > end || !stop.pass(Duration::from_millis(5)) {
                bail!("{name} does not listen after {START_LIMIT:?}: {}", error());
            }
        }
        Ok(())
    }
}

fn err_file(dir: &Path, mta: &dyn Mta) -> PathBuf {
    dir.join(format!("{}.err", mta.name()))
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Number of TCP sockets that listen on port 25 in the namespace of a process.
fn listening(pid: u32) -> usize {
    let is_listening = |line: &&str| {
        let mut words = line.split_whitespace().skip(1);
        let (local, _peer, state) = (words.next(), words.next(), words.next());
        local.is_some_and(|local| local.ends_with(":0019")) && state == Some("0A")
    };
    ["tcp", "tcp6"]
        .iter()
        .map(|table| std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default())
        .map(|table| table.lines().filter(is_listening).count())
        .sum()
}

/// Private `/etc`, `/run`, `/dev` (for the syslog socket), a load average, and the spool: a slow disk, or memory, whose fsync costs nothing.
fn mounts(dir: &Path, mta: &dyn Mta, disk: Option<&Disk>) -> Result<Vec<Mount>> {
    let dev = dir.join("dev");
    std::fs::create_dir_all(&dev).context("create dev")?;
    let spool = dir.join("var");
    let queue = spool.join(mta.queue());
    std::fs::create_dir_all(&queue).context("create spool")?;
    if let Some(disk) = disk {
        disk.prepare(mta.queue_folders(), mta.user())?;
    }
    let mut mounts = Vec::new();
    for name in ["null", "zero", "full", "random", "urandom"] {
        File::create(dev.join(name)).with_context(|| format!("create dev/{name}"))?;
        mounts.push(Mount::Bind(Path::new("/dev").join(name), dev.join(name)));
    }
    mounts.push(load_average::mount(dir)?);
    mounts.push(disk.map_or_else(|| Mount::Tmpfs(queue.clone(), mta.user()), |disk| Mount::Fuse(disk.device(), queue.clone())));
    for (from, to) in [(dev, "/dev"), (dir.join("etc"), "/etc"), (dir.join("run"), "/run"), (spool, "/var/spool")] {
        mounts.push(Mount::Bind(from, to.into()));
    }
    Ok(mounts)
}

/// `/dev/log` of the daemon, written to `NAME.log` line by line.
fn capture_syslog(dir: &Path, mta: &dyn Mta, stop: &Stop) -> Result<()> {
    let dev = dir.join("dev");
    let socket = crate::unix::bind_datagram(&dev, "log")?;
    chown(dev.join("log"), Some(mta.user()), None).context("chown log")?;
    let mut log = File::create(dir.join(format!("{}.log", mta.name()))).context("create a file for its syslog")?;
    let stop = stop.clone();
    std::thread::spawn(move || {
        let mut buffer = [0; 8192];
        while stop.wait_readable(&socket) {
            let Ok(len) = UnixDatagram::recv(&socket, &mut buffer) else { return };
            let text = String::from_utf8_lossy(buffer.get(..len).unwrap_or_default()).into_owned();
            // A full disk shows elsewhere soon enough.
            let _ = writeln!(log, "{} {}", crate::journal::now_ns(), text.trim_end());
        }
    });
    Ok(())
}
