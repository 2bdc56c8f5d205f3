//! No secret leaves the traced process: canaries in every way in which a client may bring one, looked for in a raw dump of the ring, the log,
//! standard output and standard error, as they are, in base64 at each alignment, and percent-encoded.
//!
//! The positive control builds mta-trace with its filter off and demands that the same search finds the canary of each case: a check
//! that cannot fail would be worth nothing. Needs root.

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use lab::{Lab, scenario::Scenario};
use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

/// What a client does.
enum Act {
    /// Sends bytes in one segment.
    Send(Vec<u8>),
    /// Sends each byte as a segment of its own.
    Split(Vec<u8>),
    /// Reads a whole reply.
    Reply,
    /// Attaches a tracer to the serving child, for cases that begin in the middle.
    Attach,
}
use Act::{Attach, Reply, Send, Split};

struct Case {
    name: String,
    canary: String,
    acts: Vec<Act>,
    /// Whether AUTH is offered by the server that it is meant for.
    needs_auth: bool,
}

fn case(name: &str, needs_auth: bool, acts: impl FnOnce(&str) -> Vec<Act>) -> Case {
    // Letters and digits of one length; different in each case, so that a find names the case.
    let canary = format!("Zq7Canary{}X9", name.replace(|c: char| !c.is_ascii_alphanumeric(), "").to_ascii_lowercase());
    let mut all = vec![Reply, Send(b"EHLO client.lab.test\r\n".to_vec()), Reply];
    all.extend(acts(&canary));
    Case { name: name.to_owned(), acts: all, canary, needs_auth }
}

fn line(text: &str) -> Vec<u8> {
    format!("{text}\r\n").into_bytes()
}

fn plain(canary: &str) -> String {
    base64(format!("\0user\0{canary}").as_bytes())
}

/// How a mechanism's dialogue goes: lines of the client, each answered.
fn mechanisms(canary: &str) -> Vec<(&'static str, Vec<String>)> {
    vec![
        ("plain-initial", vec![format!("AUTH PLAIN {}", plain(canary))]),
        ("plain", vec!["AUTH PLAIN".into(), plain(canary)]),
        ("login", vec!["AUTH LOGIN".into(), base64(b"user"), base64(canary.as_bytes())]),
        ("login-initial", vec![format!("AUTH LOGIN {}", base64(b"user")), base64(canary.as_bytes())]),
        // The digest stands for the canary: whoever reads the line reads it.
        ("cram-md5", vec!["AUTH CRAM-MD5".into(), base64(format!("user {canary}").as_bytes())]),
    ]
}

const QUIT: &str = "QUIT";

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for index in 0..mechanisms("").len() {
        let lines = |canary: &str| mechanisms(canary).swap_remove(index).1;
        let name = mechanisms("").swap_remove(index).0;
        for needs_auth in [true, false] {
            let offered = if needs_auth { "offered" } else { "not-offered" };
            let each = |as_act: fn(Vec<u8>) -> Act| {
                move |canary: &str| {
                    let mut acts: Vec<Act> = lines(canary).iter().flat_map(|text| [as_act(line(text)), Reply]).collect();
                    acts.extend([Send(line(QUIT)), Reply]);
                    acts
                }
            };
            cases.push(case(&format!("{name}-{offered}-segment"), needs_auth, each(Send)));
            cases.push(case(&format!("{name}-{offered}-split"), needs_auth, each(Split)));
            cases.push(case(&format!("{name}-{offered}-pipelined"), needs_auth, |canary| {
                let texts = lines(canary);
                let batch: Vec<u8> = texts.iter().flat_map(|text| line(text)).collect();
                std::iter::once(Send(batch)).chain(texts.iter().map(|_| Reply)).chain([Send(line(QUIT)), Reply]).collect()
            }));
            cases.push(case(&format!("{name}-{offered}-lower"), needs_auth, |canary| {
                let lower = |text: &String| if text.starts_with("AUTH") { text.replacen("AUTH", "auth", 1) } else { text.clone() };
                let mut acts: Vec<Act> = lines(canary).iter().flat_map(|text| [Send(line(&lower(text))), Reply]).collect();
                acts.extend([Send(line(QUIT)), Reply]);
                acts
            }));
        }
    }
    cases.push(case("body-before-354", true, |canary| {
        let batch = ["MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>", "DATA", "Subject: x", "", canary, "."].map(line).concat();
        vec![Send(batch), Reply, Reply, Reply, Reply, Send(line(QUIT)), Reply]
    }));
    cases.push(case("body", true, |canary| {
        let mut acts: Vec<Act> =
            ["MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>", "DATA"].iter().flat_map(|text| [Send(line(text)), Reply]).collect();
        acts.extend([Send(line(&format!("Subject: {canary}\r\n\r\n{canary}\r\n."))), Reply, Send(line(QUIT)), Reply]);
        acts
    }));
    cases.push(case("password-as-command", true, |canary| vec![Send(line(canary)), Reply, Send(line(QUIT)), Reply]));
    cases.push(case("attach-in-auth", true, |canary| {
        vec![
            Send(line("AUTH LOGIN")),
            Reply,
            Send(line(&base64(b"user"))),
            Reply,
            Attach,
            Send(line(&base64(canary.as_bytes()))),
            Reply,
            Send(line(QUIT)),
            Reply,
        ]
    }));
    cases.push(case("attach-in-data", true, |canary| {
        let mut acts: Vec<Act> =
            ["MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>", "DATA"].iter().flat_map(|text| [Send(line(text)), Reply]).collect();
        acts.extend([Attach, Send(line(&format!("{canary}\r\n."))), Reply, Send(line(QUIT)), Reply]);
        acts
    }));
    // sendmail writes the line into its title, where it stays until the next command.
    cases.push(case("title", true, |canary| vec![Send(line(&format!("AUTH PLAIN {}", plain(canary)))), Reply, Attach, Send(line(QUIT)), Reply]));
    cases
}

/// A tracer whose every output is kept.
struct Tracer {
    child: Child,
    dir: PathBuf,
}

impl Tracer {
    fn attach(binary: &Path, pid: u32, dir: &Path) -> Result<Self> {
        if dir.exists() {
            fs::remove_dir_all(dir)?;
        }
        fs::create_dir_all(dir)?;
        let mut command = Command::new(binary);
        command.args(["attach", "-p", &pid.to_string(), "--min-wait", "1us", "--ring-dump"]).arg(dir.join("ring")).arg("-o").arg(dir.join("log"));
        command.stdin(Stdio::null()).stdout(File::create(dir.join("stdout"))?).stderr(Stdio::piped());
        lab::netns::die_with_parent(&mut command);
        let mut child = command.spawn()?;
        let stderr = child.stderr.take().context("stderr")?;
        let mut copy = File::create(dir.join("stderr"))?;
        let mut lines = BufReader::new(stderr).lines();
        loop {
            let line = lines.next().context("the tracer ended before it was ready")??;
            writeln!(copy, "{line}")?;
            if line.contains(": ready: ") {
                break;
            }
        }
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| drop(writeln!(copy, "{line}"))));
        Ok(Self { child, dir: dir.to_owned() })
    }

    /// Interrupts it; it must end well.
    fn stop(mut self) -> Result<Vec<(&'static str, Vec<u8>)>> {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw).context("pid")?;
        rustix::process::kill_process(pid, rustix::process::Signal::INT)?;
        ensure!(self.child.wait()?.success(), "the tracer failed: {}", fs::read_to_string(self.dir.join("stderr"))?);
        ["ring", "log", "stdout", "stderr"].into_iter().map(|name| Ok((name, fs::read(self.dir.join(name))?))).collect()
    }
}

fn play(lab: &Lab, case: &Case, binary: &Path, dir: &Path) -> Result<Vec<(&'static str, Vec<u8>)>> {
    let stream = lab.connect()?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut outputs = Vec::new();
    let mut tracer = None;
    for (index, act) in case.acts.iter().enumerate() {
        let context = || format!("{}: act {index}", case.name);
        match act {
            Send(bytes) => (&stream).write_all(bytes).with_context(context)?,
            Split(bytes) => bytes.iter().try_for_each(|byte| (&stream).write_all(&[*byte])).with_context(context)?,
            // The server may have had enough: sendmail takes a body before its 354 for an attack.
            Reply => {
                if !read_reply(&mut reader).with_context(context)? {
                    break;
                }
            }
            Attach => {
                let serving = lab.serving();
                let [pid] = serving.as_slice() else { anyhow::bail!("{}: not one serving child: {serving:?}", case.name) };
                tracer = Some(Tracer::attach(binary, *pid, &dir.join(&case.name))?);
            }
        }
    }
    let mut rest = Vec::new();
    let _ = reader.read_to_end(&mut rest);
    drop(stream);
    if let Some(tracer) = tracer {
        ensure!(lab.wait_served(Duration::from_secs(30)), "{}: the serving child did not end", case.name);
        outputs = tracer.stop()?;
    }
    Ok(outputs)
}

/// Reads a whole reply; false: the server closed the connection.
fn read_reply(reader: &mut BufReader<TcpStream>) -> Result<bool> {
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(false);
        }
        if line.as_bytes().get(3) != Some(&b'-') {
            return Ok(true);
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

/// What the client's reads brought, one after another: a canary that was split over reads stands together here.
fn joined(log: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    for record in log.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<serde_json::Value>(line).ok()) {
        if record.get("smtp").is_some() && record["call"] == "read" {
            all.extend(STANDARD.decode(record["data"].as_str().unwrap_or_default()).unwrap_or_default());
        }
    }
    all
}

/// Plays all cases; for each the places in which its canary was found.
fn matrix(binary: &Path, dir: &Path) -> Result<Vec<(String, Vec<String>)>> {
    let mut results = Vec::new();
    for needs_auth in [true, false] {
        let mut scenario = Scenario::named(if needs_auth { "saslauthd-slow" } else { "fast" })?;
        if let Some(saslauthd) = &mut scenario.saslauthd {
            saslauthd.delay_s = 0.0;
        }
        let dir = dir.join(if needs_auth { "auth" } else { "no-auth" });
        let lab = Lab::up_in(&scenario, &dir.join("lab"))?;
        lab.install_faults()?;
        let daemon = Tracer::attach(binary, lab.daemon_pid(), &dir.join("daemon"))?;
        let mut own = Vec::new();
        let cases: Vec<Case> = cases().into_iter().filter(|case| case.needs_auth == needs_auth).collect();
        for case in &cases {
            own.push(play(&lab, case, binary, &dir)?);
            ensure!(lab.wait_served(Duration::from_secs(30)), "{}: the serving child did not end", case.name);
        }
        let mut outputs = daemon.stop()?;
        let log = outputs.iter().find(|(name, _)| *name == "log").map(|(_, log)| joined(log)).unwrap_or_default();
        outputs.push(("joined reads", log));
        for (case, own) in cases.iter().zip(own) {
            let mut found = finds(&case.canary, &outputs);
            let is_alone = !own.is_empty();
            if is_alone {
                // The daemon's tracer sees such a session from its beginning; what the late one saw is the case.
                let late = finds(&case.canary, &own);
                found = if found.is_empty() || !late.is_empty() { late } else { found };
            }
            results.push((case.name.clone(), found));
        }
    }
    Ok(results)
}

fn need_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    assert!(is_root || std::env::var_os("CI").is_none(), "under CI the tests run as root");
    is_root
}

fn folder(name: &str) -> PathBuf {
    lab::packages::target_dir().join("lab-out").join(name)
}

#[test]
fn no_canary_is_found_anywhere() {
    if !need_root() {
        return;
    }
    let results = matrix(&lab::run::tracer_path().unwrap(), &folder("secrets")).unwrap();
    let leaks: Vec<_> = results.iter().filter(|(_, found)| !found.is_empty()).collect();
    assert!(results.len() > 40, "only {} cases ran", results.len());
    assert!(leaks.is_empty(), "{leaks:#?}");
}

#[test]
fn with_the_filter_off_every_canary_is_found() {
    if !need_root() {
        return;
    }
    let target = lab::packages::target_dir().join("unfiltered");
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--release", "--package", "mta-trace", "--features", "unsafe-unfiltered", "--target-dir"])
        .arg(&target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .unwrap();
    assert!(status.success());
    let results = matrix(&target.join("release/mta-trace"), &folder("secrets-unfiltered")).unwrap();
    let hidden: Vec<_> = results.iter().filter(|(_, found)| found.is_empty()).map(|(name, _)| name).collect();
    assert!(hidden.is_empty(), "the search would not have found: {hidden:#?}");
}
