//! Two network namespaces joined by a veth pair, and processes inside them with a file tree of their own.
//!
//! The namespaces have no name: file descriptors of this process hold them, so they vanish with it, however it
//! ends. All labs use the same addresses; they never meet. Of the lab only this and `bpf_ids` have `unsafe`: here
//! `unshare` and `pre_exec`. Not here: what the processes are.
#![expect(unsafe_code, reason = "unshare(2) and pre_exec have no safe form; both are wrapped here and nowhere else")]

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::process::{Pid, Signal};
use rustix::thread::{LinkNameSpaceType, UnshareFlags};

/// Addresses of the client's side; the first is the client itself and the first name server.
pub const CLIENT_ADDRESSES: [&str; 4] = ["10.99.0.1/24", "10.99.0.3/24", "10.99.0.4/24", "fd99::1/64"];
/// Addresses of the side on which the MTA runs.
pub const MTA_ADDRESSES: [&str; 2] = ["10.99.0.2/24", "fd99::2/64"];
const MACS: [&str; 2] = ["02:00:00:00:00:01", "02:00:00:00:00:02"];

/// One anonymous network namespace.
#[derive(Debug)]
pub struct Netns {
    fd: OwnedFd,
    inode: u64,
}

impl Netns {
    /// Makes a namespace in a thread that ends at once; the descriptor keeps it.
    pub fn new() -> Result<Self> {
        let fd = std::thread::spawn(|| -> Result<OwnedFd> {
            // SAFETY: only the network namespace of this thread changes, and the thread ends right after.
            unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.context("unshare the network namespace (root is needed)")?;
            Ok(File::open("/proc/thread-self/ns/net").context("open own network namespace")?.into())
        })
        .join()
        .map_err(|_| anyhow::anyhow!("the thread that makes a namespace panicked"))??;
        let inode = rustix::fs::fstat(&fd).context("stat network namespace")?.st_ino;
        Ok(Self { fd, inode })
    }

    /// Runs `work` in a thread that has entered this namespace. Sockets made there stay in it.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    rustix::thread::move_into_link_name_space(self.fd.as_fd(), Some(LinkNameSpaceType::Network))
                        .context("enter network namespace")?;
                    work()
                })
                .join()
                .map_err(|_| anyhow::anyhow!("a thread inside a namespace panicked"))?
        })
    }

    /// Runs one command of iproute2 or nftables inside, and fails with its stderr.
    pub fn command(&self, program: &str, args: &[&str]) -> Result<String> {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null());
        Jail::new(self).apply(&mut command)?;
        let output = command.output().with_context(|| format!("run {program} (is it installed?)"))?;
        ensure!(output.status.success(), "{program} {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// From now on nothing that is sent to this TCP port here arrives.
    pub fn drop_packets(&self, port: u16) -> Result<()> {
        let rule = format!(
            "add table inet lab; add chain inet lab input {{ type filter hook input priority 0; }}; add rule inet lab input tcp dport {port} drop"
        );
        self.command("nft", &[&rule]).map(drop)
    }

    /// Processes (thread group ids) whose network namespace is this one.
    pub fn processes(&self) -> Vec<u32> {
        let own = format!("net:[{}]", self.inode);
        let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
        entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
            .filter(|pid| std::fs::read_link(format!("/proc/{pid}/ns/net")).is_ok_and(|link| link.as_os_str().as_bytes() == own.as_bytes()))
            .collect()
    }
}

/// Sends SIGKILL to one process of the lab.
pub fn kill(pid: u32) -> Result<()> {
    signal(pid, Signal::KILL)
}

/// Sends a signal to one process of the lab.
pub fn signal(pid: u32, signal: Signal) -> Result<()> {
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let Some(raw) = raw.filter(|_| pid > 1) else { bail!("{pid} is no process of the lab") };
    rustix::process::kill_process(raw, signal).with_context(|| format!("send {signal:?} to {pid}"))
}

/// What the lab's own processes have; a tracer whose share of the processors matters must have the same.
pub const PRECEDENCE: i32 = -15;

/// Puts this thread, and all threads and processes that it starts from now on, before others on a busy machine:
/// a neighbour that answers late by accident looks like a fault. Whether that is allowed does not matter otherwise.
pub fn take_precedence() {
    let _ = rustix::process::setpriority_process(None, PRECEDENCE);
}

/// Arranges that a process outside of all namespaces dies with the thread that starts it, and takes no precedence.
pub fn die_with_parent(command: &mut Command) {
    let bind = || {
        rustix::process::setpriority_process(None, 0)?;
        Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?)
    };
    // SAFETY: two system calls between fork and exec.
    unsafe { command.pre_exec(bind) };
}

/// The client's namespace and the MTA's, joined.
#[derive(Debug)]
pub struct Pair {
    /// Where the client and all faulty neighbours are.
    pub client: Netns,
    /// Where the MTA is.
    pub mta: Netns,
    watchdog: Option<Child>,
}

impl Pair {
    /// Makes both namespaces, the veth pair, and the watchdog that empties them should this process die.
    pub fn new() -> Result<Self> {
        let (client, mta) = (Netns::new()?, Netns::new()?);
        let far = format!("/proc/{}/fd/{}", std::process::id(), mta.fd.as_raw_fd());
        client.command("ip", &["link", "add", "c0", "address", MACS[0], "type", "veth", "peer", "name", "m0", "address", MACS[1], "netns", &far])?;
        configure(&client, "c0", &CLIENT_ADDRESSES)?;
        configure(&mta, "m0", &MTA_ADDRESSES)?;
        // The first neighbour solicitation on a fresh link is often lost, and the next comes a second later.
        client.command("ip", &["neigh", "add", "fd99::2", "lladdr", MACS[1], "dev", "c0", "nud", "permanent"])?;
        mta.command("ip", &["neigh", "add", "fd99::1", "lladdr", MACS[0], "dev", "m0", "nud", "permanent"])?;
        let watchdog = Some(spawn_watchdog(&mta)?);
        Ok(Self { client, mta, watchdog })
    }

    /// Ends every process inside the two namespaces; only processes of this lab can be there.
    pub fn kill_all(&self) {
        let watchdog = self.watchdog.as_ref().map(Child::id);
        for pid in self.mta.processes().into_iter().chain(self.client.processes()) {
            if Some(pid) != watchdog {
                // A process that has ended by itself in between is what is wanted.
                let _ = kill(pid);
            }
        }
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.kill_all();
        if let Some(mut watchdog) = self.watchdog.take() {
            drop(watchdog.stdin.take());
            let _ = watchdog.wait();
        }
    }
}

fn configure(ns: &Netns, link: &str, addresses: &[&str]) -> Result<()> {
    ns.command("ip", &["link", "set", "lo", "up"])?;
    for address in addresses {
        // Without nodad an IPv6 address cannot be bound for about a second.
        let nodad: &[&str] = if address.contains(':') { &["nodad"] } else { &[] };
        ns.command("ip", &[&["addr", "add", address, "dev", link], nodad].concat())?;
    }
    ns.command("ip", &["link", "set", link, "up"]).map(drop)
}

/// A shell that sleeps in `read` until this process closes the pipe or is gone, then kills what is still in the
/// namespace. It has a session of its own, so that Ctrl-C does not reach it first.
fn spawn_watchdog(mta: &Netns) -> Result<Child> {
    const SCRIPT: &str = "read -r _; own=$(readlink /proc/self/ns/net); \
        for p in /proc/[0-9]*; do \
          [ \"${p#/proc/}\" != $$ ] && [ \"$(readlink \"$p/ns/net\")\" = \"$own\" ] && kill -9 \"${p#/proc/}\"; \
        done 2>/dev/null";
    let mut command = Command::new("/bin/sh");
    command.args(["-c", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    Jail::new(mta).outliving().apply(&mut command)?;
    command.spawn().context("start the watchdog")
}

/// One mount of a private mount namespace.
#[derive(Debug, Clone)]
pub enum Mount {
    /// A directory or file of the lab in the place of one of the system, with what is mounted below it.
    Bind(PathBuf, PathBuf),
    /// An empty memory file system of a user's own.
    Tmpfs(PathBuf, u32),
    /// What is served through a descriptor of `/dev/fuse`.
    Fuse(Arc<OwnedFd>, PathBuf),
}

/// A mount whose strings are made: between fork and exec nothing is allocated.
#[derive(Debug)]
enum Prepared {
    Bind(CString, CString),
    Tmpfs {
        options: CString,
        at: CString,
    },
    /// The options name the descriptor, which is kept open for that.
    Fuse {
        options: CString,
        at: CString,
        _device: Arc<OwnedFd>,
    },
}

/// Where a process is put before it is executed.
#[derive(Debug)]
pub struct Jail<'a> {
    net: &'a Netns,
    hostname: Option<String>,
    mounts: Option<Vec<Mount>>,
    is_outliving: bool,
}

impl<'a> Jail<'a> {
    /// A process in this network namespace that dies with the thread that starts it.
    pub fn new(net: &'a Netns) -> Self {
        Self { net, hostname: None, mounts: None, is_outliving: false }
    }

    /// Gives it a host name of its own (a UTS namespace).
    #[must_use]
    pub fn hostname(mut self, name: &str) -> Self {
        self.hostname = Some(name.to_owned());
        self
    }

    /// Gives it a private mount namespace with these mounts, done in order.
    #[must_use]
    pub fn mounts(mut self, mounts: Vec<Mount>) -> Self {
        self.mounts = Some(mounts);
        self
    }

    /// Lets it live on when the thread that started it ends.
    #[must_use]
    fn outliving(mut self) -> Self {
        self.is_outliving = true;
        self
    }

    /// Arranges that `command` is executed inside.
    pub fn apply(self, command: &mut Command) -> Result<()> {
        let Self { net, hostname, mounts, is_outliving } = self;
        let net = net.fd.try_clone().context("copy the namespace's descriptor")?;
        let mounts = mounts.map(|mounts| mounts.iter().map(prepare).collect::<Result<Vec<_>>>()).transpose()?;
        let enter = move || -> std::io::Result<()> {
            if is_outliving {
                rustix::process::setsid()?;
            } else {
                rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            }
            rustix::thread::move_into_link_name_space(net.as_fd(), Some(LinkNameSpaceType::Network))?;
            if let Some(name) = &hostname {
                // SAFETY: the child has one thread and has not been executed yet.
                unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWUTS) }?;
                rustix::system::sethostname(name.as_bytes())?;
            }
            if let Some(mounts) = &mounts {
                // SAFETY: as above.
                unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }?;
                let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
                rustix::mount::mount_change(c"/", private)?;
                mounts.iter().try_for_each(Prepared::mount)?;
            }
            Ok(())
        };
        // SAFETY: between fork and exec only system calls are made, on strings prepared before.
        unsafe { command.pre_exec(enter) };
        Ok(())
    }
}

fn prepare(mount: &Mount) -> Result<Prepared> {
    let c = |path: &Path| CString::new(path.as_os_str().as_bytes()).context("path with a zero byte");
    Ok(match mount {
        Mount::Bind(from, to) => Prepared::Bind(c(from)?, c(to)?),
        Mount::Tmpfs(at, user) => Prepared::Tmpfs { options: CString::new(format!("mode=0755,uid={user},gid={user}"))?, at: c(at)? },
        Mount::Fuse(device, at) => {
            let options = format!("fd={},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions", device.as_raw_fd());
            Prepared::Fuse { options: CString::new(options)?, at: c(at)?, _device: Arc::clone(device) }
        }
    })
}

impl Prepared {
    fn mount(&self) -> rustix::io::Result<()> {
        match self {
            Self::Bind(from, to) => rustix::mount::mount_bind_recursive(from.as_c_str(), to.as_c_str()),
            Self::Tmpfs { options, at } => rustix::mount::mount(c"tmpfs", at.as_c_str(), c"tmpfs", MountFlags::NOSUID, options.as_c_str()),
            Self::Fuse { options, at, .. } => rustix::mount::mount(c"mta-trace-lab", at.as_c_str(), c"fuse", MountFlags::NOSUID, options.as_c_str()),
        }
    }
}
