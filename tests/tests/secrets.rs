//! No secret leaves the traced process: canaries in every way in which a client may bring one, looked for in a raw dump of the ring, the log,
//! standard output and standard error, as they are, in base64 at each alignment, and percent-encoded.
//!
//! Each reply must have the code that sendmail really gives, so that a case is what its name says. The positive control builds
//! mta-trace with its filter off and demands that the same search finds the canary of each case: a check that cannot fail would be
//! worth nothing. Needs root.

use anyhow::{Context as _, Result, bail, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use lab::{
    Lab,
    harness::{self, Case as Trial},
    journal::{What, now_ns},
    scenario::{DnsRule, Saslauthd, Scenario},
    tracer::{READY, Tracer},
};
use libtest_mimic::Failed;
use rustix::process::Signal;
use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Duration,
};

/// Longest time for one reply, for attaching and for ending.
const LIMIT: Duration = Duration::from_mins(1);
/// Between two bytes that are sent apart: the server has read the first long before.
const GAP: Duration = Duration::from_millis(2);

/// The mail server that a case is played with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Server {
    /// Offers AUTH; saslauthd refuses every password.
    Refusing,
    /// Offers AUTH; saslauthd takes every password.
    Accepting,
    /// As the refusing one, but its name server takes three seconds for the sender's domain: time to attach meanwhile.
    Slow,
    /// Offers no AUTH.
    Without,
    /// Postfix, which offers no AUTH.
    Postfix,
    /// Postfix, which offers AUTH; dovecot's auth refuses every password.
    PostfixAuth,
    /// Exim, which offers AUTH; saslauthd refuses every password.
    Exim,
}

impl Server {
    const ALL: [Self; 7] = [Self::Refusing, Self::Accepting, Self::Slow, Self::Without, Self::Postfix, Self::PostfixAuth, Self::Exim];

    fn name(self) -> &'static str {
        match self {
            Self::Refusing => "refusing",
            Self::Accepting => "accepting",
            Self::Slow => "slow",
            Self::Without => "without",
            Self::Postfix => "postfix",
            Self::PostfixAuth => "postfix-auth",
            Self::Exim => "exim",
        }
    }

    /// What stands in its reply to EHLO.
    fn offer(self) -> Option<&'static str> {
        match self {
            Self::Without | Self::Postfix => None,
            Self::Refusing | Self::Accepting | Self::Slow => Some("AUTH PLAIN LOGIN CRAM-MD5"),
            Self::PostfixAuth | Self::Exim => Some("AUTH PLAIN LOGIN"),
        }
    }

    /// Whether it checks a password by a mechanism in which it is not sent.
    fn has_cram(self) -> bool {
        !matches!(self, Self::Accepting | Self::PostfixAuth | Self::Exim)
    }

    /// Whether what serves stays for the next session.
    fn is_reused(self) -> bool {
        matches!(self, Self::Postfix | Self::PostfixAuth)
    }

    fn scenario(self) -> Result<Scenario> {
        match self {
            Self::Postfix => return Scenario::named("postfix-fast"),
            Self::PostfixAuth => {
                let mut scenario = Scenario::named("postfix-sasl-slow")?;
                scenario.late.iter_mut().for_each(|late| late.delay_s = 0.0);
                return Ok(scenario);
            }
            Self::Exim => {
                let mut scenario = Scenario::named("exim-saslauthd-slow")?;
                scenario.saslauthd.iter_mut().for_each(|saslauthd| saslauthd.delay_s = 0.0);
                return Ok(scenario);
            }
            Self::Refusing | Self::Accepting | Self::Slow | Self::Without => {}
        }
        let mut scenario = Scenario::named("fast")?;
        let mechanisms = "PLAIN LOGIN CRAM-MD5".to_owned();
        scenario.saslauthd = match self {
            Self::Refusing | Self::Slow => Some(Saslauthd { mechanisms, delay_s: 0.0, is_no: true }),
            Self::Accepting => Some(Saslauthd { mechanisms, delay_s: 0.0, is_no: false }),
            Self::Without | Self::Postfix | Self::PostfixAuth | Self::Exim => None,
        };
        if self == Self::Slow {
            scenario.dns.rules = vec![DnsRule { name: "example.com".to_owned(), delay_s: 3.0, ..DnsRule::default() }];
        }
        if self == Self::Without {
            // Left to itself sendmail offers what libsasl has; of a mechanism that nobody has nothing is left.
            scenario.sendmail.define.insert("confAUTH_MECHANISMS".to_owned(), "X-NONE".to_owned());
        }
        Ok(scenario)
    }
}

/// What a client does.
enum Act {
    /// Sends bytes in one segment.
    Send(Vec<u8>),
    /// Sends each byte as a segment of its own.
    Split(Vec<u8>),
    /// Reads a whole reply with this code.
    Reply(u16),
    /// Reads the reply to EHLO, which offers AUTH or not, as the server should.
    Offer,
    /// The server closes the connection and says nothing more.
    Closed,
    /// Waits until the name server was asked: from here on the server waits for it.
    UntilAsked,
    /// The serving child's title holds the canary, and so it does when the tracer looks at it next.
    Titled,
    /// The name server has not answered yet.
    Unanswered,
    /// Attaches a tracer to the serving child, for cases that begin in the middle.
    Attach,
    /// Ends that tracer's trace.
    Detach,
}
use Act::{Attach, Closed, Detach, Offer, Reply, Send, Split, Titled, Unanswered, UntilAsked};

struct Case {
    name: String,
    canary: String,
    acts: Vec<Act>,
    server: Server,
}

impl Case {
    fn split_bytes(&self) -> usize {
        self.acts.iter().map(|act| if let Split(bytes) = act { bytes.len() } else { 0 }).sum()
    }
}

fn case(name: &str, server: Server, acts: impl FnOnce(&str) -> Vec<Act>) -> Case {
    // Letters and digits of one length; different in each case, so that a find names the case.
    let canary = format!("Zq7Canary{}X9", name.replace(|c: char| !c.is_ascii_alphanumeric(), "").to_ascii_lowercase());
    let mut all = vec![Reply(220), Send(line("EHLO client.lab.test")), Offer];
    all.extend(acts(&canary));
    Case { name: name.to_owned(), acts: all, canary, server }
}

fn line(text: &str) -> Vec<u8> {
    format!("{text}\r\n").into_bytes()
}

fn plain(canary: &str) -> String {
    base64(format!("\0user\0{canary}").as_bytes())
}

/// One line of a mechanism's dialogue.
struct Said {
    text: String,
    /// What a server says to it that offers AUTH and refuses the password.
    offered: u16,
    /// What a server says to it that offers no AUTH.
    not_offered: u16,
}

/// How the dialogues go.
fn mechanisms(canary: &str) -> Vec<(&'static str, Vec<Said>)> {
    let auth = |text: String, offered| Said { text, offered, not_offered: 504 };
    let answer = |text: String, offered| Said { text, offered, not_offered: 500 };
    vec![
        ("plain-initial", vec![auth(format!("AUTH PLAIN {}", plain(canary)), 535)]),
        ("plain", vec![auth("AUTH PLAIN".into(), 334), answer(plain(canary), 535)]),
        ("login", vec![auth("AUTH LOGIN".into(), 334), answer(base64(b"user"), 334), answer(base64(canary.as_bytes()), 535)]),
        ("login-initial", vec![auth(format!("AUTH LOGIN {}", base64(b"user")), 334), answer(base64(canary.as_bytes()), 535)]),
        // The digest stands for the canary: whoever reads the line reads it.
        ("cram-md5", vec![auth("AUTH CRAM-MD5".into(), 334), answer(base64(format!("user {canary}").as_bytes()), 535)]),
    ]
}

fn code(said: &Said, server: Server) -> u16 {
    match server {
        Server::Without => said.not_offered,
        // What it does not know it calls so, and AUTH it knows.
        Server::Postfix => {
            if said.not_offered == 504 {
                503
            } else {
                500
            }
        }
        Server::Accepting if said.offered == 535 => 235,
        Server::Refusing | Server::Accepting | Server::Slow | Server::PostfixAuth | Server::Exim => said.offered,
    }
}

fn quit() -> [Act; 2] {
    [Send(line("QUIT")), Reply(221)]
}

/// Sends lines one after another, each by `as_act`, and waits for each reply.
fn dialogue(lines: &[Said], server: Server, as_act: fn(Vec<u8>) -> Act) -> Vec<Act> {
    lines.iter().flat_map(|said| [as_act(line(&said.text)), Reply(code(said, server))]).chain(quit()).collect()
}

fn lower(text: &str) -> String {
    if text.starts_with("AUTH") { text.replacen("AUTH", "auth", 1) } else { text.to_owned() }
}

fn auth_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (index, (mechanism, _)) in mechanisms("").into_iter().enumerate() {
        let lines = |canary: &str| mechanisms(canary).swap_remove(index).1;
        for server in [Server::Refusing, Server::Accepting, Server::Without, Server::Postfix, Server::PostfixAuth, Server::Exim] {
            // saslauthd needs the password itself: CRAM-MD5 cannot be checked by it.
            if !server.has_cram() && mechanism == "cram-md5" {
                continue;
            }
            let name = |how: &str| format!("{mechanism}-{}-{how}", server.name());
            cases.push(case(&name("segment"), server, |canary| dialogue(&lines(canary), server, Send)));
            cases.push(case(&name("split"), server, |canary| dialogue(&lines(canary), server, Split)));
            cases.push(case(&name("pipelined"), server, |canary| {
                let lines = lines(canary);
                let batch: Vec<u8> = lines.iter().flat_map(|said| line(&said.text)).collect();
                std::iter::once(Send(batch)).chain(lines.iter().map(|said| Reply(code(said, server)))).chain(quit()).collect()
            }));
            cases.push(case(&name("lower"), server, |canary| {
                let lines: Vec<Said> = lines(canary).into_iter().map(|said| Said { text: lower(&said.text), ..said }).collect();
                dialogue(&lines, server, Send)
            }));
        }
    }
    cases
}

/// Up to the 354.
fn until_data() -> Vec<Act> {
    [("MAIL FROM:<a@example.com>", 250), ("RCPT TO:<b@example.net>", 250), ("DATA", 354)]
        .into_iter()
        .flat_map(|(text, code)| [Send(line(text)), Reply(code)])
        .collect()
}

fn other_cases() -> Vec<Case> {
    vec![
        case("body-before-354", Server::Refusing, |canary| {
            let batch = ["MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>", "DATA", "Subject: x", "", canary, "."].map(line).concat();
            // sendmail takes a body before its 354 for an attack.
            vec![Send(batch), Reply(250), Reply(250), Reply(554), Closed]
        }),
        case("postfix-body-before-354", Server::Postfix, |canary| {
            let batch = ["MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>", "DATA", "Subject: x", "", canary, "."].map(line).concat();
            [Send(batch), Reply(250), Reply(250), Reply(354), Reply(250)].into_iter().chain(quit()).collect()
        }),
        // The message goes on to cleanup over a unix socket.
        case("postfix-body", Server::Postfix, |canary| {
            let body = line(&format!("Subject: {canary}\r\n\r\n{canary}\r\n."));
            until_data().into_iter().chain([Send(body), Reply(250)]).chain(quit()).collect()
        }),
        case("postfix-password-as-command", Server::Postfix, |canary| [Send(line(canary)), Reply(500)].into_iter().chain(quit()).collect()),
        case("exim-body", Server::Exim, |canary| {
            let body = line(&format!("Subject: {canary}\r\n\r\n{canary}\r\n."));
            until_data().into_iter().chain([Send(body), Reply(250)]).chain(quit()).collect()
        }),
        case("exim-password-as-command", Server::Exim, |canary| [Send(line(canary)), Reply(500)].into_iter().chain(quit()).collect()),
        case("body", Server::Refusing, |canary| {
            let body = line(&format!("Subject: {canary}\r\n\r\n{canary}\r\n."));
            until_data().into_iter().chain([Send(body), Reply(250)]).chain(quit()).collect()
        }),
        case("password-as-command", Server::Refusing, |canary| [Send(line(canary)), Reply(500)].into_iter().chain(quit()).collect()),
        case("attach-in-auth", Server::Refusing, |canary| {
            let mut acts = vec![Send(line("AUTH LOGIN")), Reply(334), Send(line(&base64(b"user"))), Reply(334), Attach];
            acts.extend([Send(line(&base64(canary.as_bytes()))), Reply(535)]);
            acts.into_iter().chain(quit()).collect()
        }),
        case("attach-in-data", Server::Refusing, |canary| {
            let body = line(&format!("{canary}\r\n."));
            until_data().into_iter().chain([Attach, Send(body), Reply(250)]).chain(quit()).collect()
        }),
        // sendmail 8.17 cuts the line in its title after the verb, but for VRFY and EXPN; there it stands while the name server thinks. The
        // reply repeats it, and VRFY's line and reply may be recorded: so the tracer is gone before the reply.
        case("title", Server::Slow, |canary| {
            let verify = line(&format!("VRFY {canary}@example.com"));
            [Send(verify), UntilAsked, Titled, Attach, Detach, Unanswered, Reply(252)].into_iter().chain(quit()).collect()
        }),
    ]
}

type Outputs = Vec<(&'static str, Vec<u8>)>;

/// A tracer whose every output is kept.
struct Kept {
    tracer: Tracer,
    dir: PathBuf,
}

impl Kept {
    fn attach(binary: &Path, pid: u32, dir: &Path) -> Result<Self> {
        if dir.exists() {
            fs::remove_dir_all(dir)?;
        }
        fs::create_dir_all(dir)?;
        let mut command = Command::new(binary);
        command.args(["attach", "-p", &pid.to_string(), "--min-wait", "1us", "--ring-dump"]).arg(dir.join("ring")).arg("-o").arg(dir.join("log"));
        lab::netns::die_with_parent(&mut command);
        let tracer = Tracer::start_in(&mut command, dir)?;
        tracer.wait_for(READY, LIMIT)?;
        Ok(Self { tracer, dir: dir.to_owned() })
    }

    /// Ends the trace; the process goes on until the kernel has detached its hooks.
    fn end_trace(&self) -> Result<()> {
        self.tracer.signal(Signal::INT)?;
        self.tracer.wait_for("kept", LIMIT).map(drop)
    }

    /// Interrupts it; it must end well.
    fn stop(self) -> Result<Outputs> {
        let ended = self.tracer.interrupt(LIMIT)?.success()?;
        let read = |name: &'static str| Ok((name, fs::read(self.dir.join(name))?));
        let mut outputs = ["ring", "log"].into_iter().map(read).collect::<Result<Outputs>>()?;
        outputs.extend([("stdout", ended.stdout), ("stderr", ended.stderr.into_bytes())]);
        Ok(outputs)
    }
}

/// What was seen of a case by the tracer that came late, if one did.
struct Played {
    /// The client's address, by which its session is found in the daemon's log.
    local: String,
    late: Option<Outputs>,
}

fn play(lab: &Lab, case: &Case, binary: &Path, dir: &Path) -> Result<Played> {
    let stream = lab.connect()?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LIMIT))?;
    let (began_ns, local) = (now_ns(), stream.local_addr()?.to_string());
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut tracer = None;
    for (index, act) in case.acts.iter().enumerate() {
        let context = || format!("{}: act {index}", case.name);
        match act {
            Send(bytes) => (&stream).write_all(bytes).with_context(context)?,
            Split(bytes) => bytes.iter().try_for_each(|byte| write_alone(&stream, *byte)).with_context(context)?,
            Reply(code) => read_reply(&mut reader, *code).map(drop).with_context(context)?,
            Offer => {
                let reply = read_reply(&mut reader, 250).with_context(context)?;
                let is_as_meant = case.server.offer().map_or_else(|| !reply.contains("AUTH"), |offer| reply.contains(offer));
                ensure!(is_as_meant, "{}: AUTH is not offered as it should be: {reply}", case.name);
            }
            Closed => ensure!(reader.read(&mut [0]).with_context(context)? == 0, "{}: the server says more", case.name),
            UntilAsked => {
                let asked = lab.journal().wait_for(began_ns, LIMIT, |what| matches!(what, What::DnsQuery { qname, .. } if qname == "example.com"));
                asked.map(drop).context("the name server was not asked").with_context(context)?;
            }
            Unanswered => {
                let is_answer = |what: &What| matches!(what, What::DnsReply { qname, .. } if qname == "example.com");
                let answered = lab.journal().wait_for(began_ns, Duration::ZERO, is_answer);
                ensure!(answered.is_none(), "{}: the name server answered before the tracer was attached", case.name);
            }
            Titled => {
                let title = fs::read(format!("/proc/{}/cmdline", serving(lab)?)).with_context(context)?;
                ensure!(!finds(&case.canary, &[("title", title)]).is_empty(), "{}: the canary is not in the title", case.name);
            }
            Detach => tracer.as_ref().context("no tracer is attached").and_then(Kept::end_trace).with_context(context)?,
            Attach => tracer = Some(Kept::attach(binary, serving(lab)?, &dir.join(&case.name))?),
        }
    }
    drop((stream, reader));
    // Postfix's processes stay for the next session.
    ensure!(case.server.is_reused() || lab.wait_served(LIMIT), "{}: the serving child did not end", case.name);
    Ok(Played { local, late: tracer.map(Kept::stop).transpose()? })
}

fn write_alone(mut stream: &TcpStream, byte: u8) -> std::io::Result<()> {
    stream.write_all(&[byte])?;
    std::thread::sleep(GAP);
    Ok(())
}

/// The one child that serves a session.
fn serving(lab: &Lab) -> Result<u32> {
    match lab.serving().as_slice() {
        [pid] => Ok(*pid),
        several => bail!("not one serving child: {several:?}"),
    }
}

/// Reads a whole reply, which must have this code.
fn read_reply(reader: &mut BufReader<TcpStream>, code: u16) -> Result<String> {
    let mut reply = String::new();
    loop {
        let mut line = String::new();
        ensure!(reader.read_line(&mut line)? > 0, "the server closed the connection instead of {code}");
        ensure!(line.starts_with(&code.to_string()), "expected {code}, got {line:?}");
        reply.push_str(&line);
        if line.as_bytes().get(3) != Some(&b'-') {
            return Ok(reply);
        }
    }
}

/// Names of the outputs in which a canary stands in any of its forms.
fn finds(canary: &str, outputs: &[(&'static str, Vec<u8>)]) -> Vec<String> {
    let mut found = Vec::new();
    for (name, bytes) in outputs {
        for form in forms(canary) {
            if bytes.windows(form.len()).any(|window| window == form) {
                found.push(format!("{name}: {}", String::from_utf8_lossy(&form)));
            }
        }
    }
    found
}

/// As it is, percent-encoded, and once or twice in base64 (AUTH sends base64, the log writes base64), at each alignment.
fn forms(canary: &str) -> Vec<Vec<u8>> {
    let once = alignments(canary.as_bytes());
    let twice = once.iter().flat_map(|form| alignments(form)).collect::<Vec<_>>();
    let percent = canary.bytes().fold(String::new(), |text, byte| format!("{text}%{byte:02X}"));
    let percent_lower = percent.to_ascii_lowercase();
    [canary.as_bytes().to_vec(), percent.into_bytes(), percent_lower.into_bytes()].into_iter().chain(once).chain(twice).collect()
}

/// The part of the base64 text that depends on these bytes alone, for each of the three alignments.
fn alignments(bytes: &[u8]) -> Vec<Vec<u8>> {
    (0..3)
        .map(|before| {
            let padded: Vec<u8> = std::iter::repeat_n(0, before).chain(bytes.iter().copied()).collect();
            let text = base64(&padded[..padded.len() / 3 * 3]);
            let skip = (before * 8).div_ceil(6);
            text.as_bytes()[skip..].to_vec()
        })
        .collect()
}

fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The records of a log.
fn records(log: &[u8]) -> impl Iterator<Item = serde_json::Value> {
    log.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok())
}

fn is_client_read(record: &serde_json::Value) -> bool {
    record.get("smtp").is_some() && record["call"] == "read"
}

/// What the client's reads brought, one after another: a canary that was split over reads stands together here.
fn joined(log: &[u8]) -> Vec<u8> {
    let data = |record: serde_json::Value| STANDARD.decode(record["data"].as_str().unwrap_or_default()).unwrap_or_default();
    records(log).filter(is_client_read).flat_map(data).collect()
}

/// A line that was to be split must have been read byte by byte, but for some that a busy machine put together.
fn check_split(case: &Case, local: &str, log: &[u8]) -> Result<()> {
    let alone = records(log).filter(|record| is_client_read(record) && record["peer"] == local && record["ret"] == 1).count();
    let sent = case.split_bytes();
    ensure!(alone * 4 >= sent * 3, "{}: of {sent} bytes sent apart only {alone} were read apart", case.name);
    Ok(())
}

/// Where the canary of a case was found.
struct Found {
    case: String,
    /// By the daemon's tracer, which sees each session from its beginning.
    whole: Vec<String>,
    /// By the tracer that came late, where that is the case.
    late: Option<Vec<String>>,
}

/// Plays all cases.
fn matrix(binary: &Path, dir: &Path) -> Result<Vec<Found>> {
    let (mut all, mut found) = (auth_cases(), Vec::new());
    all.extend(other_cases());
    for server in Server::ALL {
        let dir = dir.join(server.name());
        let lab = Lab::up_in(&server.scenario()?, &dir.join("lab"))?;
        lab.install_faults()?;
        let daemon = Kept::attach(binary, lab.daemon_pid(), &dir.join("daemon"))?;
        let cases: Vec<&Case> = all.iter().filter(|case| case.server == server).collect();
        let played: Vec<Result<Played>> = cases.iter().map(|case| play(&lab, case, binary, &dir)).collect();
        let failed: Vec<String> = played.iter().filter_map(|played| played.as_ref().err()).map(|error| format!("{error:#}")).collect();
        ensure!(failed.is_empty(), "{}", failed.join("\n"));
        let mut outputs = daemon.stop()?;
        let log = outputs.iter().find(|(name, _)| *name == "log").map(|(_, log)| log.clone()).unwrap_or_default();
        outputs.push(("joined reads", joined(&log)));
        for (case, played) in cases.iter().zip(played.into_iter().flatten()) {
            check_split(case, &played.local, &log)?;
            let late = played.late.map(|late| finds(&case.canary, &late));
            found.push(Found { case: case.name.clone(), whole: finds(&case.canary, &outputs), late });
        }
    }
    ensure!(found.len() == all.len(), "{} of {} cases ran", found.len(), all.len());
    Ok(found)
}

/// Four letters that stand nowhere but in the message, again and again: any five bytes of it hold them in one of four orders.
const PATTERN: &str = "QZXJ";

/// A message that goes through `cleanup` and a milter, both of which were taken in because an earlier message of the session waited for them. Gives
/// where a piece of it was found.
fn message_through_a_milter(binary: &Path, dir: &Path) -> Result<Vec<String>> {
    let scenario = Scenario::named("postfix-milter-opendkim")?;
    let lab = Lab::up_in(&scenario, &dir.join("lab"))?;
    lab.install_faults()?;
    let kept = Kept::attach(binary, lab.daemon_pid(), &dir.join("daemon"))?;
    let stream = lab.connect()?;
    stream.set_read_timeout(Some(LIMIT))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    read_reply(&mut reader, 220)?;
    let mut say = |text: &[u8], code| {
        (&stream).write_all(text)?;
        read_reply(&mut reader, code)
    };
    say(b"HELO client.lab.test\r\n", 250)?;
    let signed = scenario.dialogue.iter().find_map(|step| step.body.clone()).context("the scenario has a message")?;
    let secret = format!("From: <a@example.com>\nSubject: {0}\n\n{1}", PATTERN.repeat(10), format!("{}\n", PATTERN.repeat(15)).repeat(5000));
    for message in [signed, secret] {
        say(b"MAIL FROM:<a@example.com>\r\n", 250)?;
        say(b"RCPT TO:<b@example.net>\r\n", 250)?;
        say(b"DATA\r\n", 354)?;
        say(format!("{}\r\n.\r\n", message.trim_end().replace('\n', "\r\n")).as_bytes(), 250)?;
    }
    say(b"QUIT\r\n", 221)?;
    drop((stream, reader));
    let outputs = kept.stop()?;
    let log = outputs.iter().find(|(name, _)| *name == "log").map_or(&[][..], |(_, log)| log);
    let helpers: Vec<String> = records(log).filter(|record| record["k"] == "helper").map(|record| record["comm"].to_string()).collect();
    for wanted in ["cleanup", "opendkim"] {
        ensure!(helpers.iter().any(|comm| comm.contains(wanted)), "{wanted} was not taken in: {helpers:?}");
    }
    let data: Vec<u8> = records(log).flat_map(|record| STANDARD.decode(record["data"].as_str().unwrap_or_default()).unwrap_or_default()).collect();
    let everywhere = outputs.iter().map(|(name, bytes)| (*name, bytes.as_slice())).chain([("the log's data", data.as_slice())]);
    let orders: Vec<Vec<u8>> = (0..PATTERN.len()).map(|at| PATTERN.repeat(2).bytes().skip(at).take(PATTERN.len()).collect()).collect();
    let has_piece = |bytes: &[u8]| orders.iter().any(|order| bytes.windows(order.len()).any(|window| window == order));
    Ok(everywhere.filter(|(_, bytes)| has_piece(bytes)).map(|(name, _)| name.to_owned()).collect())
}

fn of_a_milters_messages_no_piece_is_found() -> Result<()> {
    let found = message_through_a_milter(&lab::run::tracer_path()?, &folder("secrets-milter"))?;
    ensure!(found.is_empty(), "{found:#?}");
    Ok(())
}

fn folder(name: &str) -> PathBuf {
    lab::packages::target_dir().join("lab-out").join(name)
}

fn no_canary_is_found_anywhere() -> Result<()> {
    let results = matrix(&lab::run::tracer_path()?, &folder("secrets"))?;
    // The line of the title may be recorded, when it is read and not when it is found in the title.
    let whole = |found: &Found| if found.case == "title" { Vec::new() } else { found.whole.clone() };
    let places = |found: &Found| [whole(found), found.late.clone().unwrap_or_default()].concat();
    let leaks: Vec<String> =
        results.iter().filter(|found| !places(found).is_empty()).map(|found| format!("{}: {:#?}", found.case, places(found))).collect();
    ensure!(leaks.is_empty(), "{}", leaks.join("\n"));
    Ok(())
}

fn with_the_filter_off_every_canary_is_found() -> Result<()> {
    let target = lab::packages::target_dir().join("unfiltered");
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--release", "--package", "mta-trace", "--features", "unsafe-unfiltered", "--target-dir"])
        .arg(&target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()?;
    ensure!(status.success(), "the unfiltered build: {status}");
    let results = matrix(&target.join("release/mta-trace"), &folder("secrets-unfiltered"))?;
    // What a late tracer sees is the case; the daemon's sees it anyway.
    let is_hidden = |found: &&Found| found.late.as_ref().unwrap_or(&found.whole).is_empty();
    let hidden: Vec<&str> = results.iter().filter(is_hidden).map(|found| found.case.as_str()).collect();
    ensure!(hidden.is_empty(), "the search would not have found: {hidden:#?}");
    let found = message_through_a_milter(&target.join("release/mta-trace"), &folder("secrets-milter-unfiltered"))?;
    ensure!(!found.is_empty(), "the search would not have found a piece of the message");
    Ok(())
}

fn main() -> ExitCode {
    let trial = |name, test: fn() -> Result<()>| Trial::new(name, true, move || test().map_err(|error| Failed::from(format!("{error:#}"))));
    let trials = vec![
        trial("no_canary_is_found_anywhere", no_canary_is_found_anywhere),
        trial("of_a_milters_messages_no_piece_is_found", of_a_milters_messages_no_piece_is_found),
        trial("with_the_filter_off_every_canary_is_found", with_the_filter_off_every_canary_is_found),
    ];
    harness::run("secrets", trials, None)
}
