//! A small forking SMTP server, for the demonstration where no sendmail can be had. No test of causes may use it.
//!
//! It has what makes sessions slow: an ident call and, at MAIL and RCPT, a look-up by the real resolver. Both processes
//! are this binary: the daemon accepts and starts one child a connection, whose standard input the connection is.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::Stop;
use lab::client::{self, Played, Surroundings};
use lab::dns::Dns;
use lab::journal::Journal;
use lab::netns::{Jail, Mount, Pair};
use lab::scenario::{IdentMode, Scenario, Step};

/// The daemon's argument.
pub const SERVER: &str = "small-server";
/// The argument of a child that serves a session.
pub const SESSION: &str = "small-session";

const ADDRESS: &str = "10.99.0.2:25";
const HOSTNAME: &str = "mx.lab.test";
/// sendmail's default.
const IDENT_LIMIT: Duration = Duration::from_secs(5);

/// The server in its namespaces.
pub struct Small {
    daemon: Child,
    pair: Pair,
    journal: Journal,
    stop: Stop,
    dns: Dns,
    scenario: Scenario,
}

impl Small {
    /// Puts it up.
    pub fn up(scenario: &Scenario, dir: &Path) -> Result<Self> {
        let (pair, journal, stop, dns) = (Pair::new()?, Journal::default(), Stop::new()?, Dns::default());
        dns.serve(&pair.client, "10.99.0.1", &journal, &stop)?;
        let etc = dir.join("etc");
        std::fs::create_dir_all(&etc).context("create etc")?;
        for (name, text) in [
            ("hosts", "127.0.0.1 localhost\n10.99.0.2 mx.lab.test mx\n"),
            ("nsswitch.conf", "passwd: files\nhosts: files dns\n"),
            ("resolv.conf", "nameserver 10.99.0.1\n"),
        ] {
            std::fs::write(etc.join(name), text).with_context(|| format!("write {name}"))?;
        }
        // Machines without a cache of the linker do without.
        let _ = std::fs::copy("/etc/ld.so.cache", etc.join("ld.so.cache"));
        let mut command = Command::new(std::env::current_exe().context("own path")?);
        command.arg(SERVER).stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0);
        Jail::new(&pair.mta).hostname(HOSTNAME).mounts(vec![Mount::Bind(etc, "/etc".into())]).apply(&mut command)?;
        let mut daemon = command.spawn().context("start the small server")?;
        let stdout = daemon.stdout.take().context("the server's stdout")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).context("wait for the server")?;
        ensure!(!line.is_empty(), "the small server ended at its start");
        Ok(Self { daemon, pair, journal, stop, dns, scenario: scenario.clone() })
    }

    /// The daemon.
    pub fn pid(&self) -> u32 {
        self.daemon.id()
    }

    /// Puts the faults in force; without nftables ident is silent rather than dropped.
    pub fn install_faults(&self) -> Result<()> {
        self.dns.install(&self.scenario.dns.rules);
        let (client, ident) = (&self.pair.client, &self.scenario.ident);
        if lab::ident::install(client, ident, &self.journal, &self.stop).is_err() {
            eprintln!("demo: nftables cannot be used here; port 113 accepts and says nothing instead");
            let ident = lab::scenario::Ident { mode: IdentMode::Silent, ..ident.clone() };
            return lab::ident::install(client, &ident, &self.journal, &self.stop);
        }
        Ok(())
    }

    /// Plays a dialogue.
    pub fn play(&self, dialogue: &[Step]) -> Result<Played> {
        let from = SocketAddr::from(([10, 99, 0, 1], 0));
        let to = ADDRESS.parse().context("the server's address")?;
        let around =
            Surroundings { journal: &self.journal, stop: &self.stop, limit: Duration::from_secs(self.scenario.time_limit_s), act: &|_| Ok(()) };
        client::play(dialogue, &around, || self.pair.client.run(|| client::connect(from, to)), &mut |_| {})
    }

    /// The processes that serve a session.
    pub fn serving(&self) -> Vec<u32> {
        let pid = self.pid();
        let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        self.stop.stop();
        // Its children die with the namespaces.
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// The daemon: accepts, forks, reaps.
pub fn serve() -> Result<()> {
    let listener = TcpListener::bind(ADDRESS).with_context(|| format!("bind {ADDRESS}"))?;
    println!("listening");
    let own = std::env::current_exe().context("own path")?;
    let mut children: Vec<Child> = Vec::new();
    loop {
        let (stream, _) = listener.accept().context("accept")?;
        children.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        let mut command = Command::new(&own);
        command.arg(SESSION).stdin(OwnedFd::from(stream)).stdout(Stdio::null());
        children.push(command.spawn().context("start a session")?);
    }
}

/// One session, on standard input.
pub fn session() -> Result<()> {
    let stream = TcpStream::from(std::io::stdin().as_fd().try_clone_to_owned().context("the connection")?);
    ident(stream.peer_addr().context("the client's address")?.ip());
    let mut out = stream.try_clone().context("the connection")?;
    let mut say = move |text: &str| out.write_all(format!("{text}\r\n").as_bytes());
    say(&format!("220 {HOSTNAME} ESMTP small server of the lab"))?;
    for line in BufReader::new(stream).lines() {
        let line = line.context("read")?;
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        match verb.as_str() {
            "HELO" | "EHLO" => say(&format!("250 {HOSTNAME} pleased to meet you"))?,
            "MAIL" | "RCPT" => {
                look_up(&line);
                say("250 2.1.0 ok")?;
            }
            "NOOP" | "RSET" => say("250 2.0.0 ok")?,
            "QUIT" => {
                say(&format!("221 2.0.0 {HOSTNAME} closing connection"))?;
                break;
            }
            _ => say("502 5.5.1 not of this server")?,
        }
    }
    Ok(())
}

/// Whoever is there: the answer does not matter, the time does.
fn ident(client: IpAddr) {
    let Ok(mut stream) = TcpStream::connect_timeout(&SocketAddr::new(client, 113), IDENT_LIMIT) else { return };
    let mut answer = String::new();
    let _ = stream.set_read_timeout(Some(IDENT_LIMIT));
    let _ = stream.write_all(b"25, 25\r\n").and_then(|()| BufReader::new(stream).read_line(&mut answer));
}

/// By getaddrinfo(3); a domain that is not found is taken all the same.
fn look_up(line: &str) {
    let address = line.split(['<', '>']).nth(1).unwrap_or_default();
    if let Some((_, domain)) = address.rsplit_once('@') {
        drop((domain, 25).to_socket_addrs());
    }
}
