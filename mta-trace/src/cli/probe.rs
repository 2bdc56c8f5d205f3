//! `mta-trace probe`: what is asked for, checked; then the client in a thread of its own, and the tracer beside it.
//!
//! In: arguments. Out: a report on standard output, an exit code: 0 played (whatever the server answered), 1 not played to its end, 2 usage,
//! 3 not permitted to trace. Invariant: the password is read from a file and goes to the wire alone. Not here: SMTP (`probe/`).

use super::args::{probe::Probe, report::Format};
use super::attach::{ready_line, stranger};
use super::output::{self, Failure, say};
use crate::export::Resolve;
use crate::kernel;
use crate::live::{self, Finished, Limits, Signals, View};
use crate::log;
use crate::options::Cidr;
use crate::probe::{self, Destination, Login, Password, Plan, Played, Progress, Stage, check_helo};
use crate::report::{PROBE_SCHEMA, ProbeReport};
use crate::source;
use crate::view::{json, probe as probe_view, summary, timeline::Timeline};
use std::fs::File;
use std::io::{self, BufWriter, Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

/// Longest message and password file, bytes.
const MAX_DATA: u64 = 64 * 1024 * 1024;
const MAX_PASSWORD_FILE: u64 = 64 * 1024;
/// Most recipients (RFC 5321, 4.5.3.1.8, wants 100 to be taken): all may go into one segment.
const MAX_RCPTS: usize = 100;

/// Plays, and traces unless that is not wanted.
pub fn run(probe: Probe, resolve: Resolve) -> Result<(), Failure> {
    check(&probe)?;
    let to = destination(&probe, resolve)?;
    let is_here = to.addresses.iter().all(|address| address.ip().to_canonical().is_loopback());
    if probe.auth.is_some() && !probe.starttls && !is_here && !probe.auth_without_tls {
        return Err(Failure::usage(
            "without TLS everybody on the way could read the password; add --starttls, or --auth-without-tls if that is all right",
        ));
    }
    let plan = plan(&probe)?;
    let clock = kernel::boot_to_wall_ns();
    if probe.no_trace {
        let (played, done) = probe::play(&plan, &to, &Progress::default());
        if !played.client.is_empty() {
            let report =
                ProbeReport { schema: PROBE_SCHEMA.to_owned(), version: env!("CARGO_PKG_VERSION").to_owned(), probe: probe::alone(&played, clock) };
            let text = probe_view::alone(&report.probe).into_iter().fold(String::new(), |text, line| text + &line + "\n");
            write(probe.format, &text, &report)?;
        }
        return done.map_err(|error| Failure::failed(error.to_string()));
    }
    traced(probe, plan, to)
}

/// What clap cannot say.
fn check(probe: &Probe) -> Result<(), Failure> {
    let has_envelope = probe.quit_after.is_none_or(|stage| stage >= Stage::Mail);
    if has_envelope && probe.from.is_none() {
        return Err(Failure::usage("--from is missing: give the sender (<> for the null sender), or --quit-after helo"));
    }
    if probe.quit_after.is_none_or(|stage| stage >= Stage::Rcpt) && probe.rcpt.is_empty() {
        return Err(Failure::usage("--rcpt is missing: give a recipient, or --quit-after mail"));
    }
    if probe.rcpt.len() > MAX_RCPTS {
        return Err(Failure::usage(format!("{} recipients are more than a session is sure to take; give at most {MAX_RCPTS}", probe.rcpt.len())));
    }
    if probe.rcpt.iter().any(|rcpt| rcpt.to_string().is_empty()) {
        return Err(Failure::usage("--rcpt is empty: a recipient has an address"));
    }
    match probe.quit_after {
        Some(Stage::Tls) if !probe.starttls => Err(Failure::usage("--quit-after tls: there is no TLS without --starttls")),
        Some(Stage::Auth) if probe.auth.is_none() => Err(Failure::usage("--quit-after auth: nobody authenticates without --auth")),
        _ if probe.password_file.as_deref() == Some("-") && probe.data.as_deref() == Some("-") => {
            Err(Failure::usage("standard input cannot be both the password and the message; put one into a file"))
        }
        _ if probe.output.as_deref() == Some("-") => {
            Err(Failure::usage("standard output carries the report; write the log into a file, or use `mta-trace attach -o -`"))
        }
        _ => Ok(()),
    }
}

/// `HOST`, `HOST:PORT`, `[ADDR]:PORT`, or an IPv6 address alone.
fn host_and_port(text: &str, default_port: u16) -> Result<(String, u16), Failure> {
    let wrong = || Failure::usage(format!("--to {text}: write an address or a name, and the port behind a colon, such as 127.0.0.1:25 or [::1]:25"));
    if text.parse::<std::net::Ipv6Addr>().is_ok() {
        return Ok((text.to_owned(), default_port));
    }
    let (host, port) = match text.strip_prefix('[').and_then(|it| it.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':').or(if rest.is_empty() { None } else { Some("no port") })),
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map_or(Some(default_port), |port| port.parse().ok().filter(|port| *port > 0)).ok_or_else(wrong)?;
    if host.is_empty() { Err(wrong()) } else { Ok((host.to_owned(), port)) }
}

fn destination(probe: &Probe, resolve: Resolve) -> Result<Destination, Failure> {
    let (host, port) = host_and_port(&probe.to, probe.selection.port.unwrap_or(25))?;
    let addresses = resolve(&host, port).map_err(|reason| Failure::failed(format!("--to {host}: {reason}; write its address instead")))?;
    Ok(Destination { host, addresses, timeout: probe.timeout, tls_verify: probe.tls_verify })
}

fn plan(probe: &Probe) -> Result<Plan, Failure> {
    let helo = probe.helo.clone().unwrap_or_else(own_name);
    let has_message = probe.quit_after.is_none() && probe.data.as_deref() != Some("none");
    let message = match probe.data.as_deref().filter(|_| has_message) {
        Some(path) => Some(read("--data", path, MAX_DATA)?),
        None => has_message.then(|| test_message(probe, &helo).into_bytes()),
    };
    let login = match (&probe.auth, &probe.password_file) {
        (Some(user), Some(path)) => {
            let bytes = read("--password-file", path, MAX_PASSWORD_FILE)?;
            let password = Password::from_file(&bytes).map_err(|error| Failure::failed(format!("--password-file {path}: {error}")))?;
            Some(Login { user: user.clone(), password })
        }
        (_, _) => None,
    };
    Ok(Plan {
        helo,
        from: probe.from.clone(),
        rcpts: probe.rcpt.clone(),
        login,
        starttls: probe.starttls,
        pipeline: probe.pipeline,
        message: message.map(|bytes| probe::stuffed(&bytes)),
        quit_after: probe.quit_after,
    })
}

fn own_name() -> String {
    let uname = rustix::system::uname();
    uname.nodename().to_str().ok().and_then(|name| check_helo(name).ok()).unwrap_or_else(|| "localhost".to_owned())
}

fn read(option: &str, path: &str, most: u64) -> Result<Vec<u8>, Failure> {
    let cannot = |error: io::Error| Failure::failed(format!("{option} {path}: cannot be read: {error}{}", log::advice(&error)));
    let mut bytes = Vec::new();
    let limited = |file: &mut dyn io::Read, bytes: &mut Vec<u8>| file.take(most + 1).read_to_end(bytes);
    let read =
        if path == "-" { limited(&mut io::stdin().lock(), &mut bytes) } else { File::open(path).and_then(|mut file| limited(&mut file, &mut bytes)) };
    let read = u64::try_from(read.map_err(cannot)?).unwrap_or(u64::MAX);
    if read > most { Err(Failure::failed(format!("{option} {path}: is longer than {most} bytes; give a shorter one"))) } else { Ok(bytes) }
}

/// A message that says what it is (RFC 5322).
fn test_message(probe: &Probe, helo: &str) -> String {
    let from = probe.from.as_ref().map(ToString::to_string).filter(|from| !from.is_empty()).unwrap_or_else(|| format!("postmaster@{helo}"));
    let to: Vec<String> = probe.rcpt.iter().map(|rcpt| format!("<{rcpt}>")).collect();
    let now = jiff::Timestamp::now();
    format!(
        "Date: {}\nFrom: <{from}>\nTo: {}\nSubject: test by mta-trace probe\nMessage-ID: <probe.{}.{}@{helo}>\n\nThis message tests how long the mail server takes.\n",
        now.strftime("%a, %d %b %Y %H:%M:%S +0000"),
        to.join(",\n "),
        now.as_nanosecond(),
        std::process::id(),
    )
}

/// What the client may need to be done when the trace is over, unless that was ended by a signal or its target.
const CLIENT_GRACE: Duration = Duration::from_secs(1);

fn traced(probe: Probe, plan: Plan, to: Destination) -> Result<(), Failure> {
    let Probe { mut selection, output: path, force, format, how, .. } = probe;
    if selection.pid.is_none() && selection.mta.is_none() && selection.port.is_none() {
        selection.port = to.addresses.first().map(SocketAddr::port);
    }
    let options = how.options(selection, own_addresses(&to)?, false);
    let log = path.as_deref().map(|path| log::Writer::create(path, force)).transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::system)?;
    let progress = Arc::new(Progress::default());
    let limits = Limits { only: Some(Arc::clone(&progress)), ..Limits::default() };
    let (tell, told) = channel();
    // Whoever looks on sees what is being waited for.
    let has_view = format == Format::Text && output::screen().is_terminal;
    let view = if has_view { View::Timeline(Timeline::new(BufWriter::new(io::stdout()), output::screen())) } else { View::None };
    let finished = runtime.block_on(async {
        let trace = source::attach(&options).inspect_err(|_| output::discard(path.as_deref(), force))?;
        let target = trace.header().target;
        if target.listening.is_empty() {
            output::discard(path.as_deref(), force);
            let text = format!("pid {} serves another session and accepts none; give the daemon's, which `pgrep -o sendmail` prints", target.pid);
            return Err(Failure::failed(text));
        }
        let signals = Signals::new().map_err(Failure::system)?;
        let (ready, warning) = (ready_line(&trace.header()), stranger(&trace.header()));
        // Only now the server's side is seen from the first byte on. If nobody listens any more the program has ended.
        let began = || {
            warning.iter().chain([&ready]).for_each(|text| say(text));
            std::thread::spawn(move || {
                let _ = tell.send(probe::play(&plan, &to, &progress));
            });
        };
        Ok::<_, Failure>(live::run(trace, log, view, limits, signals, began, &mut |text| say(text)).await)
    })?;
    if has_view {
        let _ = writeln!(io::stdout());
    }
    let Ok((played, done)) = told.recv_timeout(CLIENT_GRACE) else {
        report(finished, &Played::default(), format)?;
        return Err(Failure::failed("the trace ended before the client was done: only the server's side, so far, is told"));
    };
    report(finished, &played, format)?;
    if let Some(path) = path {
        say(&format!("the log is kept in {path}; `mta-trace report {path}` shows the server's side again"));
    }
    done.map_err(|error| Failure::failed(error.to_string()))
}

/// `--client` is implied: where the client will come from.
fn own_addresses(to: &Destination) -> Result<Vec<Cidr>, Failure> {
    let mut all: Vec<Cidr> = Vec::new();
    for address in &to.addresses {
        // What cannot be reached is not tried either, if there is another.
        let own = probe::own_address(*address).ok().and_then(|own| own.to_string().parse().ok());
        all.extend(own.filter(|own| !all.contains(own)));
    }
    if all.is_empty() {
        return Err(Failure::failed(format!("{}: there is no way to it from this machine; see `ip route get`", to.host)));
    }
    Ok(all)
}

fn report(finished: Finished, played: &Played, format: Format) -> Result<(), Failure> {
    let Finished { mut report, accepted, log_error, .. } = finished;
    if !played.client.is_empty() {
        probe::join(&mut report, probe::alone(played, kernel::boot_to_wall_ns()));
    }
    // Where no connection came about there is nothing to tell.
    if !played.client.is_empty() || !report.sessions.is_empty() {
        write(format, &summary::text(&report, &accepted), &report)?;
    }
    log_error.map_or(Ok(()), |error| Err(Failure::failed(format!("the log is incomplete: {error}"))))
}

fn write(format: Format, text: &str, report: &impl serde::Serialize) -> Result<(), Failure> {
    let mut bytes = Vec::new();
    match format {
        Format::Text => bytes.extend_from_slice(text.as_bytes()),
        Format::Json => json::write(&mut bytes, report).map_err(Failure::io)?,
    }
    output::write_new("-", &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports() {
        let read = |text: &str| host_and_port(text, 25).ok();
        for (text, host, port) in [
            ("127.0.0.1", "127.0.0.1", 25),
            ("127.0.0.1:587", "127.0.0.1", 587),
            ("mx.example.com:2525", "mx.example.com", 2525),
            ("::1", "::1", 25),
            ("[::1]:587", "::1", 587),
            ("[::1]", "::1", 25),
        ] {
            assert_eq!(read(text), Some((host.to_owned(), port)), "{text}");
        }
        for text in ["", ":25", "a:", "a:0", "a:65536", "a:smtp", "[::1]x", "[::1]:", "a:1:2"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
