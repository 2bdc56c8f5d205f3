//! Dialogues played against a real server, and tracers whose every output is kept.

use crate::{
    cases::{
        Act::{Attach, Closed, Detach, Offer, Reply, Send, Split, Titled, Unanswered, UntilAsked},
        Case,
    },
    search::finds,
};
use anyhow::{Context as _, Result, bail, ensure};
use lab::{
    Lab,
    journal::{What, now_ns},
    tracer::{READY, Tracer},
};
use rustix::process::Signal;
use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// Longest time for one reply, for attaching and for ending.
pub const LIMIT: Duration = Duration::from_mins(1);
/// Between two bytes that are sent apart: the server has read the first long before.
const GAP: Duration = Duration::from_millis(2);

pub type Outputs = Vec<(&'static str, Vec<u8>)>;

/// A tracer whose every output is kept.
pub struct Kept {
    tracer: Tracer,
    dir: PathBuf,
}

impl Kept {
    pub fn attach(binary: &Path, pid: u32, dir: &Path) -> Result<Self> {
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
    pub fn stop(self) -> Result<Outputs> {
        let ended = self.tracer.interrupt(LIMIT)?.success()?;
        let read = |name: &'static str| Ok((name, fs::read(self.dir.join(name))?));
        let mut outputs = ["ring", "log"].into_iter().map(read).collect::<Result<Outputs>>()?;
        outputs.extend([("stdout", ended.stdout), ("stderr", ended.stderr.into_bytes())]);
        Ok(outputs)
    }
}

/// What was seen of a case by the tracer that came late, if one did.
pub struct Played {
    /// The client's address, by which its session is found in the daemon's log.
    pub local: String,
    pub late: Option<Outputs>,
}

pub fn play(lab: &Lab, case: &Case, binary: &Path, dir: &Path) -> Result<Played> {
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
pub fn read_reply(reader: &mut BufReader<TcpStream>, code: u16) -> Result<String> {
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
