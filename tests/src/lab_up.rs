//! A whole lab: namespaces, neighbours and an MTA that listens, for one scenario.
//!
//! In comes a scenario; out comes something that plays dialogues and tells the daemon's pid. The faults are put in force
//! apart, since a daemon whose name servers are dead takes long to start. When it is dropped nothing is left.

use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::FlockOperation;
use rustix::process::Signal;

use crate::client::{self, Line, Played, Surroundings};
use crate::disk::Disk;
use crate::dns::Dns;
use crate::journal::{Journal, What};
use crate::late::Late;
use crate::milter::Milter;
use crate::mta::{self, Daemon};
use crate::netns::{Jail, Pair, kill, signal, take_precedence};
use crate::packages::Packages;
use crate::scenario::{Scenario, Step};
use crate::sink::Sink;
use crate::stop::Stop;
use crate::{ident, load_average, lock, mailer, opendkim, policy, saslauthd, sink, socket_map, spamd, unbound, unix};

/// Everything of one scenario. Processes die with the thread that called `up`, so keep it there.
pub struct Lab {
    // Dropped in this order: threads are told, then the daemon ends, then the namespaces go.
    ended: EndOnDrop,
    daemon: Daemon,
    pair: Pair,
    scenario: Scenario,
    dir: PathBuf,
    journal: Journal,
    dns: Dns,
    milter: Option<Milter>,
    disk: Option<Disk>,
    sink: Sink,
    late: Late,
    packages: Packages,
    /// Neighbours that are processes of their own; they die with the thread that made them.
    neighbours: Vec<Child>,
    _claim: File,
}

struct EndOnDrop(Stop);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for neighbour in &mut self.neighbours {
            // One that has ended already is only waited for.
            let _ = neighbour.kill().and_then(|()| neighbour.wait());
        }
    }
}

impl Lab {
    /// Puts it up, in `lab-out/NAME` below the target folder.
    pub fn up(scenario: &Scenario) -> Result<Self> {
        Self::up_in(scenario, &crate::run::dir_of(scenario))
    }

    /// Puts it up in a folder whose earlier content is removed.
    pub fn up_in(scenario: &Scenario, dir: &Path) -> Result<Self> {
        let mta = mta::of(scenario.mta);
        let packages = Packages::unpack(mta)?;
        take_precedence();
        let (dir, claim) = fresh(dir)?;
        let (journal, ended) = (Journal::default(), EndOnDrop(Stop::new()?));
        let stop = ended.0.clone();
        let pair = Pair::new()?;
        let dns = Dns::default();
        dns.serve(&pair.client, scenario.dns.first(), &journal, &stop)?;
        if scenario.dns.second_server {
            dns.serve(&pair.client, "10.99.0.3", &journal, &stop)?;
        }
        let run = dir.join("run");
        std::fs::create_dir_all(&run).context("create run")?;
        let milter = scenario.milter.as_ref().map(|_| Milter::new(&journal, &stop));
        if let (Some(milter), Some(settings)) = (&milter, &scenario.milter) {
            if settings.is_opendkim {
                // It is started beside the mail server, when there is an `/etc`.
            } else if settings.is_unix {
                milter.serve_unix(unix::bind_stream(&run, "milter")?);
            } else {
                milter.serve_tcp(&pair.client, "10.99.0.1")?;
            }
        }
        if let Some(settings) = &scenario.saslauthd {
            let dir = run.join("saslauthd");
            saslauthd::serve(unix::bind_stream(&dir, "mux")?, settings, &journal, &stop);
            chown(dir.join("mux"), Some(mta.user()), None).context("chown saslauthd's socket")?;
        }
        if let Some(settings) = &scenario.mailer {
            mailer::serve(&run, settings, &journal, &stop)?;
        }
        if let Some(settings) = &scenario.policy {
            policy::serve(&pair.client, "10.99.0.1", settings, &journal, &stop)?;
        }
        if let Some(settings) = &scenario.socket_map {
            socket_map::serve(&pair.client, "10.99.0.1", settings, &journal, &stop)?;
        }
        if let Some(settings) = &scenario.spamd {
            spamd::serve(&pair.client, "10.99.0.1", settings, &journal, &stop)?;
        }
        let late = Late::default();
        for settings in &scenario.late {
            late.serve(&pair.client, &dir, settings, &journal, &stop)?;
        }
        let disk = scenario.disk.as_ref().map(|_| Disk::new(&dir.join("disk"), &journal, &stop)).transpose()?;
        let sink = sink::serve(&pair.client, "10.99.0.1", &journal, &stop)?;
        let mut neighbours = Vec::new();
        if scenario.dns.has_resolver {
            neighbours.push(unbound::start(&dir, &pair.mta, scenario.dns.first(), &stop)?);
        }
        let daemon = Daemon::start(mta, &dir, &pair.mta, scenario, &packages, disk.as_ref(), &stop)?;
        if scenario.milter.as_ref().is_some_and(|milter| milter.is_opendkim) {
            neighbours.push(opendkim::start(&dir, &pair.mta, &stop)?);
        }
        Ok(Self { ended, daemon, pair, scenario: scenario.clone(), dir, journal, dns, milter, disk, sink, late, packages, neighbours, _claim: claim })
    }

    /// Pid of the daemon, to be given to `attach -p`.
    pub fn daemon_pid(&self) -> u32 {
        self.daemon.pid()
    }

    /// Folder of everything that is kept for inspection.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What happened so far.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Puts the scenario's faults in force.
    pub fn install_faults(&self) -> Result<()> {
        self.dns.install(&self.scenario.dns.rules);
        if let (Some(milter), Some(settings)) = (&self.milter, &self.scenario.milter) {
            milter.install(settings);
        }
        if let (Some(disk), Some(settings)) = (&self.disk, &self.scenario.disk) {
            disk.install(&settings.delays);
        }
        self.late.install();
        self.sink.install(&self.pair.client, &self.scenario.sink)?;
        ident::install(&self.pair.client, &self.scenario.ident, &self.journal, &self.ended.0)
    }

    /// Plays a dialogue from the client's side; `on_line` sees every line as it passes.
    pub fn play(&self, dialogue: &[Step], mut on_line: impl FnMut(&Line<'_>)) -> Result<Played> {
        let asked = dialogue.first().and_then(|step| step.connect.clone());
        let [from, to] = asked.unwrap_or_else(|| ["10.99.0.1".into(), "10.99.0.2".into()]);
        self.play_between(&from, &to, dialogue, &self.journal, &mut on_line)
    }

    /// Plays the dialogue of the other client, if there is one.
    pub fn play_other(&self) -> Result<()> {
        let Some(other) = self.scenario.other_client.as_ref().filter(|other| !other.is_beside) else { return Ok(()) };
        self.play_between(&other.address, "10.99.0.2", &other.dialogue, &self.journal, &mut |_| {}).map(drop).context("the other client")
    }

    /// Plays the dialogue, and beside it that of the other client, where the scenario wants that; what that one does is in no journal.
    pub fn play_all(&self) -> Result<Played> {
        let Some(other) = self.scenario.other_client.as_ref().filter(|other| other.is_beside) else {
            return self.play(&self.scenario.dialogue, |_| {});
        };
        std::thread::scope(|scope| {
            let beside = scope.spawn(|| self.play_between(&other.address, "10.99.0.2", &other.dialogue, &Journal::default(), &mut |_| {}));
            let played = self.play(&self.scenario.dialogue, |_| {});
            let beside = beside.join().map_err(|_| anyhow::anyhow!("the other client panicked"))?;
            beside.context("the other client")?;
            played
        })
    }

    fn play_between(&self, from: &str, to: &str, dialogue: &[Step], journal: &Journal, on_line: &mut dyn FnMut(&Line<'_>)) -> Result<Played> {
        let parse = |text: &str| text.parse::<IpAddr>().with_context(|| format!("address {text}"));
        let to = to.parse().or_else(|_| parse(to).map(|to| SocketAddr::new(to, 25)))?;
        let from = SocketAddr::new(parse(from)?, 0);
        let around =
            Surroundings { journal, stop: &self.ended.0, limit: Duration::from_secs(self.scenario.time_limit_s), act: &|step| self.act(step) };
        let mut crowd = Vec::new();
        let connect = || {
            self.stop_daemon()?;
            let connected = self.pair.client.run(|| client::connect(from, to))?;
            let beside = SocketAddr::from(([10, 99, 0, 4], 0));
            for _ in 0..self.scenario.sendmail.crowd {
                crowd.push(self.pair.client.run(|| client::begin_to_connect(beside, to))?);
            }
            Ok(connected)
        };
        client::play(dialogue, &around, connect, on_line)
    }

    /// Stops the daemon, if the scenario wants it, and lets it go on after its time; the kernel accepts connections for it meanwhile.
    fn stop_daemon(&self) -> Result<()> {
        let time = Duration::from_secs_f64(self.scenario.sendmail.stopped_s);
        if time.is_zero() {
            return Ok(());
        }
        let (pid, journal, ended) = (self.daemon_pid(), self.journal.clone(), self.ended.0.clone());
        signal(pid, Signal::STOP)?;
        journal.note(What::Stopped);
        std::thread::spawn(move || {
            // Also when the lab ends before: a stopped process could not be ended in order.
            ended.pass(time);
            journal.note(What::Continued);
            // A lab that has ended has no daemon any more.
            let _ = signal(pid, Signal::CONT);
        });
        Ok(())
    }

    /// A plain connection from the client's side to the MTA, for tests that write their own bytes.
    pub fn connect(&self) -> Result<std::net::TcpStream> {
        let (from, to) = (SocketAddr::from(([10, 99, 0, 1], 0)), SocketAddr::from(([10, 99, 0, 2], 25)));
        self.pair.client.run(|| client::connect(from, to)).map(|(stream, _)| stream)
    }

    /// Processes that serve a session now.
    pub fn serving(&self) -> Vec<u32> {
        self.daemon.serving()
    }

    /// Arranges that a command runs on the client's side, for a load generator.
    pub fn enter_client(&self, command: &mut Command) -> Result<()> {
        Jail::new(&self.pair.client).apply(command)
    }

    /// Postfix's `smtp-source`, on the client's side, aimed at the MTA by `args`.
    pub fn smtp_source(&self) -> Result<Command> {
        let mut command = self.packages.command(&self.packages.smtp_source());
        self.enter_client(&mut command)?;
        Ok(command)
    }

    /// Waits until the daemon has no serving process any more; false when the time is over.
    pub fn wait_served(&self, limit: Duration) -> bool {
        let children = self.daemon.serving();
        children.into_iter().all(|pid| {
            let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
            let opened = pid.map(|pid| rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()));
            match opened {
                Some(Ok(fd)) => self.ended.0.wait_readable_for(fd, limit) == Some(true),
                _ => true,
            }
        })
    }

    fn wait_title(&self, title: &str) -> Result<()> {
        let (wanted, limit) = (format!("sendmail: {title}"), Duration::from_secs(self.scenario.time_limit_s));
        let (path, began) = (format!("/proc/{}/cmdline", self.daemon_pid()), Instant::now());
        // The kernel has no event for a title; /proc is asked every 5 ms.
        while !std::fs::read(&path).with_context(|| format!("read {path}"))?.starts_with(wanted.as_bytes()) {
            ensure!(began.elapsed() < limit, "the daemon's title does not become `{title}`");
            ensure!(self.ended.0.pass(Duration::from_millis(5)), "the lab ended");
        }
        Ok(())
    }

    fn act(&self, step: &Step) -> Result<()> {
        if let Some(file) = &step.lock {
            let path = match file.strip_prefix('/') {
                Some(path) => PathBuf::from(format!("/proc/{}/root", self.daemon_pid())).join(path),
                None => self.dir.join("etc/mail").join(file),
            };
            return lock::hold(&path, Duration::from_secs_f64(step.hold_s), &self.journal, &self.ended.0);
        }
        if let Some(load) = step.load_average {
            return load_average::set(&self.dir, load);
        }
        if let Some(title) = &step.until_title {
            return self.wait_title(title);
        }
        if step.kill {
            let children = self.daemon.serving();
            let &[pid] = children.as_slice() else { bail!("not one serving process: {children:?}") };
            self.journal.note(What::Killed { pid });
            return kill(pid);
        }
        bail!("a step that says nothing")
    }
}

/// An empty folder, and the lock that says whose it is; one that another lab still uses is refused.
fn fresh(dir: &Path) -> Result<(PathBuf, File)> {
    ensure!(rustix::process::geteuid().is_root(), "the lab needs root: it makes namespaces");
    let parent = dir.parent().context("a lab's folder has a parent")?;
    std::fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
    let claim = dir.with_extension("lock");
    let claim = File::create(&claim).with_context(|| format!("create {}", claim.display()))?;
    rustix::fs::flock(&claim, FlockOperation::NonBlockingLockExclusive).with_context(|| format!("another lab uses {}", dir.display()))?;
    if dir.exists() {
        std::fs::remove_dir_all(dir).with_context(|| format!("remove {}", dir.display()))?;
    }
    std::fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    Ok((dir.canonicalize().with_context(|| format!("resolve {}", dir.display()))?, claim))
}
