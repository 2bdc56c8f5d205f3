//! `mta-trace probe` against the lab's real sendmail, and once against each other mail server: what it plays, what it says the server had of it, and that no password is seen.
//!
//! The client runs in the lab's client namespace, the tracer with it. A name server or saslauthd that answers late shows whether
//! the time lands in the right exchange, on the server's side. Needs root.
#![expect(clippy::unwrap_used, reason = "a test that fails says where")]

use base64::{Engine as _, engine::general_purpose::STANDARD};
use lab::{
    Lab,
    harness::{self, Case},
    journal::What,
    run::{copy_for_everybody, schema_problems},
    scenario::{DnsAction, DnsRule, Policy, Saslauthd, Scenario},
    tracer::{self, Ended, Tracer},
};
use serde_json::Value;
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Duration,
};

const LIMIT: Duration = Duration::from_mins(1);
/// How late a name server or saslauthd answers.
const DELAY_S: f64 = 1.0;
/// The server's time may be larger than the client's by this, s: they are one clock.
const MORE_S: f64 = 0.001;
/// What of the client's time may be outside of the server, s: loopback, and a busy machine.
const OUTSIDE_S: f64 = 0.1;
/// The same of QUIT: Exim gives the client 0.2 s to close first, which is the client's time.
const QUIT_S: f64 = 0.3;
/// What a mail server does itself for a command, beside others on a busy machine, s.
const OWN_S: f64 = 0.15;
const PASSWORD: &str = "Zq7CanaryProbeX9";
const ENVELOPE: [&str; 4] = ["--from", "a@example.com", "--rcpt", "b@example.net"];

fn main() -> ExitCode {
    let tests: [(&str, fn()); 17] = [
        ("plain", plain),
        ("pipeline", pipeline),
        ("starttls", starttls),
        ("auth_plain", auth_plain),
        ("auth_login", auth_login),
        ("auth_inside_tls", auth_inside_tls),
        ("quit_after", quit_after),
        ("without_trace_and_privilege", without_trace_and_privilege),
        ("a_certificate_that_nobody_trusts", a_certificate_that_nobody_trusts),
        ("a_server_that_is_too_late", a_server_that_is_too_late),
        ("nobody_listens", nobody_listens),
        ("over_ipv6", over_ipv6),
        ("of_postfix", of_postfix),
        ("of_exim", of_exim),
        ("of_opensmtpd", of_opensmtpd),
        ("an_interrupt_tells_what_is_known", an_interrupt_tells_what_is_known),
        ("the_search_for_secrets_finds_them", the_search_for_secrets_finds_them),
    ];
    let case = |(name, test): (&str, fn())| {
        Case::new(name, true, move || {
            test();
            Ok(())
        })
    };
    harness::run("probe", tests.map(case).into(), None)
}

fn lab_with(name: &str, change: impl FnOnce(&mut Scenario)) -> Lab {
    lab_of("fast", name, change)
}

/// The lab of this scenario.
fn lab_of(scenario: &str, name: &str, change: impl FnOnce(&mut Scenario)) -> Lab {
    let mut scenario = Scenario::named(scenario).unwrap();
    change(&mut scenario);
    let lab = Lab::up_in(&scenario, &lab::packages::target_dir().join("lab-probe").join(name)).expect("the lab");
    lab.install_faults().expect("faults");
    lab
}

/// A name server that takes its time for the sender's domain.
fn slow(scenario: &mut Scenario) {
    scenario.dns.rules = vec![DnsRule { name: "example.com".into(), qtype: "AAAA".into(), delay_s: DELAY_S, ..DnsRule::default() }];
}

fn saslauthd(mechanisms: &str, is_no: bool) -> Saslauthd {
    Saslauthd { mechanisms: mechanisms.into(), delay_s: DELAY_S, is_no }
}

/// Runs it on the client's side.
fn probe(lab: &Lab, args: &[&str]) -> Ended {
    let mut command = Command::new(lab::run::tracer_path().unwrap());
    command.args(["probe", "--to", "10.99.0.2"]).args(args);
    lab.enter_client(&mut command).unwrap();
    tracer::run(&mut command, LIMIT).expect("it ends")
}

/// The same with a trace.
fn traced(lab: &Lab, args: &[&str]) -> Ended {
    let pid = lab.daemon_pid().to_string();
    probe(lab, &[&["-p", &pid, "--hooks", "tracepoint", "--format", "json"], args].concat())
}

fn code(ended: &Ended) -> Option<i32> {
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    ended.status.code()
}

/// The one session of the report, which must be whole and agree with its client.
fn session(ended: &Ended) -> Value {
    assert_eq!(code(ended), Some(0), "{}", ended.stderr);
    let report: Value = serde_json::from_slice(&ended.stdout).expect("the report is JSON");
    assert_eq!(schema_problems(&report).unwrap(), Vec::<String>::new());
    let sessions = report["sessions"].as_array().unwrap();
    assert_eq!(sessions.len(), 1, "{report:#}");
    let session = sessions[0].clone();
    assert_eq!((&session["complete"], &session["probe"]["client"]), (&true.into(), &session["client"]), "{session:#}");
    // Inside TLS nobody reads QUIT; whoever closes first has ended it.
    let is_end = session["end"] == "quit" || !session["tls"].is_null() && session["end"] == "client-closed";
    assert!(is_end, "{session:#}");
    for exchange in session["probe"]["exchanges"].as_array().unwrap() {
        let (client_s, server_s) = (number(exchange, "elapsed_s"), number(exchange, "server_s"));
        assert!(server_s <= client_s + MORE_S, "the server has more than the client measured: {exchange:#}");
        assert!((client_s - server_s - number(exchange, "outside_s")).abs() < 1e-9, "{exchange:#}");
        let is_quit = exchange["commands"][0]["verb"] == "QUIT";
        assert!(number(exchange, "outside_s") < if is_quit { QUIT_S } else { OUTSIDE_S }, "{exchange:#}\n{session:#}");
    }
    session
}

#[track_caller]
fn number(value: &Value, name: &str) -> f64 {
    value[name].as_f64().unwrap_or_else(|| panic!("{name} is missing: {value:#}"))
}

/// `CONNECT 220`, `MAIL+RCPT 250+250`: what was exchanged.
fn exchanged(probe: &Value) -> Vec<String> {
    let exchange = |exchange: &Value| {
        let commands = exchange["commands"].as_array().unwrap();
        let verbs: Vec<&str> = commands.iter().map(|command| command["verb"].as_str().unwrap()).collect();
        let codes: Vec<String> = commands.iter().filter_map(|command| command["reply_code"].as_u64()).map(|code| code.to_string()).collect();
        format!("{} {}", verbs.join("+"), codes.join("+")).trim().to_owned()
    };
    probe["exchanges"].as_array().unwrap().iter().map(exchange).collect()
}

/// What the server had of the one exchange with this verb.
#[track_caller]
fn server_s(session: &Value, verb: &str) -> f64 {
    let exchanges = session["probe"]["exchanges"].as_array().unwrap();
    let found: Vec<f64> = exchanges.iter().filter(|it| it["commands"][0]["verb"] == verb).map(|it| number(it, "server_s")).collect();
    assert_eq!(found.len(), 1, "{verb}: {session:#}");
    found[0]
}

/// A neighbour is never early, which the lab's own tests hold against its clock; the rest is what the server does itself.
#[track_caller]
fn is_delay(server_s: f64) {
    assert!((DELAY_S..DELAY_S + OWN_S).contains(&server_s), "the server had it for {server_s} s");
}

fn plain() {
    let lab = lab_with("plain", slow);
    let log = lab.dir().join("probe.jsonl");
    let data = lab.dir().join("message");
    fs::write(&data, "Subject: dots\n\n.\n..\r\nMAIL FROM:<x@example.com>\n").unwrap();
    let args = [&ENVELOPE[..], &["--rcpt", "c@example.net", "--data", data.to_str().unwrap(), "-o", log.to_str().unwrap()]].concat();
    let ended = traced(&lab, &args);
    let session = session(&ended);
    let expected = ["CONNECT 220", "EHLO 250", "MAIL 250", "RCPT 250", "RCPT 250", "DATA 354", "EOM 250", "QUIT 221"];
    assert_eq!(exchanged(&session["probe"]), expected);
    is_delay(server_s(&session, "MAIL"));
    assert!(server_s(&session, "QUIT") < OWN_S && session["probe"]["stopped"].is_null());
    assert_eq!(session["queue_ids"].as_array().unwrap().len(), 1);
    assert!(ended.stderr.contains("ready: tracing sendmail") && ended.stderr.contains("the log is kept in"), "{}", ended.stderr);
    // The whole message in the queue, its dots as they were.
    let queued = fs::read_dir(format!("/proc/{}/root/var/spool/mqueue", lab.daemon_pid())).unwrap();
    let body = queued.flatten().find(|entry| entry.file_name().to_string_lossy().starts_with("df")).expect("a queued message");
    assert_eq!(fs::read_to_string(body.path()).unwrap(), ".\n..\nMAIL FROM:<x@example.com>\n");
    // For people; and the server's side again from the log.
    let pid = lab.daemon_pid().to_string();
    let text = probe(&lab, &[&["-p", &pid, "--hooks", "tracepoint", "--data", "none"], &ENVELOPE[..]].concat());
    let shown = String::from_utf8(text.stdout).unwrap();
    assert!(shown.lines().all(|line| line.chars().count() <= 80 || line.starts_with("    check")), "{shown}");
    assert!(shown.contains("client s   server s  outside s") && shown.contains("250 RSET"), "{shown}");
    let mut report = Command::new(lab::run::tracer_path().unwrap());
    let again = tracer::run(report.arg("report").arg(&log), LIMIT).unwrap();
    assert!(String::from_utf8(again.stdout).unwrap().contains("MAIL FROM:<a@example.com>"));
}

fn pipeline() {
    let lab = lab_with("pipeline", slow);
    let session = session(&traced(&lab, &[&ENVELOPE[..], &["--rcpt", "no-such-user@lab.test", "--pipeline"]].concat()));
    assert_eq!(exchanged(&session["probe"]), ["CONNECT 220", "EHLO 250", "MAIL+RCPT+RCPT+DATA 250+250+550+354", "EOM 250", "QUIT 221"]);
    is_delay(server_s(&session, "MAIL"));
    assert_eq!(session["probe"]["notes"][0], "1 of 2 recipients were accepted");
}

fn starttls() {
    let lab = lab_with("starttls", |scenario| {
        slow(scenario);
        scenario.sendmail.tls = true;
    });
    for more in [&["--data", "none"][..], &["--pipeline"]] {
        let session = session(&traced(&lab, &[&ENVELOPE[..], &["--starttls"], more].concat()));
        let told = exchanged(&session["probe"]);
        assert_eq!(told[..5], ["CONNECT 220", "EHLO 250", "STARTTLS 220", "TLS", "EHLO 250"]);
        let rest: &[&str] =
            if more.len() == 2 { &["MAIL 250", "RCPT 250", "RSET 250", "QUIT 221"] } else { &["MAIL+RCPT+DATA 250+250+354", "EOM 250", "QUIT 221"] };
        assert_eq!(&told[5..], rest);
        is_delay(server_s(&session, "MAIL"));
        assert!(session["probe"]["tls"]["version"].as_str().unwrap().starts_with("TLSv1."), "{session:#}");
        assert_eq!(session["probe"]["tls"]["verified"], false);
    }
}

/// Readable by root alone, as it should be.
fn password_file(lab: &Lab) -> PathBuf {
    let path = lab.dir().join("password");
    fs::write(&path, format!("{PASSWORD}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// Where the password stands, as it is or in base64 at each alignment.
fn finds<'a>(outputs: &'a [(&'a str, Vec<u8>)]) -> Vec<&'a str> {
    let encoded = (0..3).map(|before| {
        let all = STANDARD.encode([&b"\0u:"[..before], PASSWORD.as_bytes()].concat());
        // The first and the last group may hold neighbours.
        all[4..all.len() - 4].to_owned()
    });
    let secrets: Vec<String> = std::iter::once(PASSWORD.to_owned()).chain(encoded).collect();
    let has = |bytes: &[u8], secret: &str| bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
    outputs.iter().filter(|(_, bytes)| secrets.iter().any(|secret| has(bytes, secret))).map(|(name, _)| *name).collect()
}

/// A check that cannot fail would be worth nothing.
fn the_search_for_secrets_finds_them() {
    let plain = |user: &str| STANDARD.encode(format!("\0{user}\0{PASSWORD}")).into_bytes();
    let outputs = [
        ("as it is", format!("x{PASSWORD}").into_bytes()),
        ("login", STANDARD.encode(PASSWORD).into_bytes()),
        ("plain 0", plain("u")),
        ("plain 1", plain("us")),
        ("plain 2", plain("use")),
    ];
    assert_eq!(finds(&outputs), outputs.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    assert_eq!(finds(&[("nothing", b"AUTH PLAIN".to_vec())]), Vec::<&str>::new());
}

/// One login; gives its session. What the tracer and the client leave behind must not hold the password.
fn login(lab: &Lab, more: &[&str], name: &str) -> Value {
    let (password, log, ring) = (password_file(lab), lab.dir().join(format!("{name}.jsonl")), lab.dir().join(format!("{name}.ring")));
    let args = ["--auth", "user", "--password-file", password.to_str().unwrap(), "-o", log.to_str().unwrap(), "--ring-dump", ring.to_str().unwrap()];
    let ended = traced(lab, &[&ENVELOPE[..], &args, more].concat());
    let read = |path: &Path| fs::read(path).unwrap();
    let outputs = [("stdout", ended.stdout.clone()), ("stderr", ended.stderr.clone().into_bytes()), ("log", read(&log)), ("ring", read(&ring))];
    assert_eq!(finds(&outputs), Vec::<&str>::new(), "the password is there");
    session(&ended)
}

fn auth_plain() {
    let lab = lab_with("auth-plain", |scenario| scenario.saslauthd = Some(saslauthd("PLAIN", false)));
    let session = login(&lab, &["--auth-without-tls", "--data", "none"], "accepted");
    assert_eq!(exchanged(&session["probe"]), ["CONNECT 220", "EHLO 250", "AUTH 235", "MAIL 250", "RCPT 250", "RSET 250", "QUIT 221"]);
    is_delay(server_s(&session, "AUTH"));
    assert_eq!(session["probe"]["exchanges"][2]["commands"][0]["line"], "AUTH PLAIN");
    assert!(session["probe"]["exchanges"][2]["commands"][0]["reply"].is_null());
    // Without --auth-without-tls nothing is sent to it.
    let password = password_file(&lab);
    let ended = traced(&lab, &[&ENVELOPE[..], &["--auth", "user", "--password-file", password.to_str().unwrap()]].concat());
    assert_eq!(code(&ended), Some(2));
    assert!(ended.stderr.contains("add --starttls"), "{}", ended.stderr);
}

fn auth_login() {
    let lab = lab_with("auth-login", |scenario| scenario.saslauthd = Some(saslauthd("LOGIN", true)));
    let session = login(&lab, &["--auth-without-tls"], "refused");
    assert_eq!(exchanged(&session["probe"]), ["CONNECT 220", "EHLO 250", "AUTH 535", "QUIT 221"]);
    is_delay(server_s(&session, "AUTH"));
    assert_eq!(session["probe"]["stopped"], "AUTH was refused with 535");
}

fn auth_inside_tls() {
    let lab = lab_with("auth-tls", |scenario| {
        scenario.saslauthd = Some(saslauthd("PLAIN LOGIN", false));
        scenario.sendmail.tls = true;
    });
    let session = login(&lab, &["--starttls", "--quit-after", "auth"], "inside-tls");
    assert_eq!(exchanged(&session["probe"])[4..], ["EHLO 250", "AUTH 235", "QUIT 221"]);
    is_delay(server_s(&session, "AUTH"));
}

fn quit_after() {
    let lab = lab_with("quit-after", |scenario| scenario.sendmail.tls = true);
    for (stage, last) in [("connect", "CONNECT 220"), ("HELO", "EHLO 250"), ("tls", "TLS"), ("mail", "MAIL 250"), ("rcpt", "RCPT 250")] {
        let tls: &[&str] = if stage == "tls" { &["--starttls"] } else { &[] };
        let session = session(&traced(&lab, &[&ENVELOPE[..], &["--quit-after", stage], tls].concat()));
        let told = exchanged(&session["probe"]);
        assert_eq!(told[told.len() - 2..], [last, "QUIT 221"], "{stage}");
    }
}

fn without_trace_and_privilege() {
    let lab = lab_with("no-trace", |scenario| {
        slow(scenario);
        scenario.sendmail.tls = true;
    });
    let binary = copy_for_everybody(&lab::run::tracer_path().unwrap(), "probe").unwrap();
    let as_nobody = |args: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"]).arg(&binary);
        command.args(["probe", "--to", "10.99.0.2"]).args(ENVELOPE).args(args).current_dir("/");
        lab.enter_client(&mut command).unwrap();
        tracer::run(&mut command, LIMIT).expect("it ends")
    };
    let ended = as_nobody(&["--no-trace", "--starttls", "--format", "json"]);
    assert_eq!((code(&ended), ended.stderr.as_str()), (Some(0), ""));
    let report: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(report["schema"], "mta-trace.probe/1");
    let wrapped = serde_json::json!({"schema": "mta-trace.report/1", "tool": {"version": "0", "kernel": "0", "hooks": "tracepoint"},
        "log": {"events": 0, "lost": 0, "truncated": 0}, "sessions": [], "probe": report["probe"]});
    assert_eq!(schema_problems(&wrapped).unwrap(), Vec::<String>::new());
    let told = exchanged(&report["probe"]);
    assert_eq!(told[3..], ["TLS", "EHLO 250", "MAIL 250", "RCPT 250", "DATA 354", "EOM 250", "QUIT 221"]);
    let mail = report["probe"]["exchanges"].as_array().unwrap().iter().find(|it| it["commands"][0]["verb"] == "MAIL").unwrap();
    assert!(number(mail, "elapsed_s") >= DELAY_S && mail["server_s"].is_null(), "{mail:#}");
    let ended = as_nobody(&["--no-trace", "--quit-after", "helo"]);
    let shown = String::from_utf8(ended.stdout).unwrap();
    assert!(shown.starts_with("probe  10.99.0.1:") && shown.contains("S 250-mx.lab.test Hello"), "{shown}");
    // With a trace it is not permitted, and nothing is played.
    let ended = as_nobody(&["-p", &lab.daemon_pid().to_string()]);
    assert_eq!((code(&ended), ended.stdout.len()), (Some(3), 0));
    assert!(ended.stderr.contains("not permitted; run as root"), "{}", ended.stderr);
    fs::remove_dir_all(binary.parent().unwrap()).unwrap();
}

fn a_certificate_that_nobody_trusts() {
    let lab = lab_with("verify", |scenario| scenario.sendmail.tls = true);
    let ended = probe(&lab, &[&ENVELOPE[..], &["--no-trace", "--starttls", "--tls-verify"]].concat());
    assert_eq!(code(&ended), Some(1), "{}", ended.stderr);
    assert!(ended.stderr.starts_with("mta-trace: the TLS handshake failed: "), "{}", ended.stderr);
    assert!(!String::from_utf8(ended.stdout).unwrap().contains("MAIL"), "nothing is sent");
}

fn a_server_that_is_too_late() {
    let lab = lab_with("too-late", |scenario| {
        scenario.dns.rules = vec![DnsRule { name: "example.com".into(), qtype: "AAAA".into(), action: DnsAction::Silent, ..DnsRule::default() }];
    });
    let ended = traced(&lab, &[&ENVELOPE[..], &["--timeout", "2s"]].concat());
    assert_eq!(code(&ended), Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("MAIL: nothing came within 2s; --timeout gives it longer"), "{}", ended.stderr);
    // What it waited for is told all the same.
    let report: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(schema_problems(&report).unwrap(), Vec::<String>::new());
    let session = &report["sessions"][0];
    let mail = session["probe"]["exchanges"].as_array().unwrap().last().unwrap();
    assert!(mail["commands"][0]["reply_code"].is_null() && number(mail, "server_s") >= 1.9, "{mail:#}");
    assert_eq!(session["commands"].as_array().unwrap().iter().find(|it| it["verb"] == "MAIL").unwrap()["waits"][0]["cause"], "dns");
}

fn nobody_listens() {
    let lab = lab_with("nobody", |_| {});
    let pid = lab.daemon_pid().to_string();
    for args in [&["--no-trace"][..], &["-p", &pid, "--hooks", "tracepoint"]] {
        let mut command = Command::new(lab::run::tracer_path().unwrap());
        command.args(["probe", "--to", "10.99.0.2:26"]).args(ENVELOPE).args(args);
        lab.enter_client(&mut command).unwrap();
        let ended = tracer::run(&mut command, LIMIT).unwrap();
        assert_eq!((code(&ended), ended.stdout.len()), (Some(1), 0), "{}", ended.stderr);
        assert!(
            ended.stderr.ends_with(
                "mta-trace: 10.99.0.2:26: no connection: refused; see whether a mail server listens on this address and port (`ss -ltn`)\n"
            ),
            "{}",
            ended.stderr
        );
    }
}

fn over_ipv6() {
    let lab = lab_with("ipv6", |scenario| scenario.sendmail.listen = vec!["10.99.0.2".into(), "fd99::2".into()]);
    let pid = lab.daemon_pid().to_string();
    let mut command = Command::new(lab::run::tracer_path().unwrap());
    command.args(["probe", "-p", &pid, "--to", "[fd99::2]:25", "--hooks", "tracepoint", "--format", "json"]).args(ENVELOPE);
    lab.enter_client(&mut command).unwrap();
    let session = session(&tracer::run(&mut command, LIMIT).unwrap());
    assert!(session["client"].as_str().unwrap().starts_with("[fd99::1]:"), "{session:#}");
}

/// A message, of which RCPT is what takes its time; then the same inside TLS, without its content.
fn plays_a_message(lab: &Lab, has_tls: bool) {
    let plain = session(&traced(lab, &ENVELOPE));
    assert_eq!(exchanged(&plain["probe"]), ["CONNECT 220", "EHLO 250", "MAIL 250", "RCPT 250", "DATA 354", "EOM 250", "QUIT 221"]);
    is_delay(server_s(&plain, "RCPT"));
    assert!(server_s(&plain, "MAIL") < DELAY_S / 2.0, "{plain:#}");
    if has_tls {
        let inside = session(&traced(lab, &[&ENVELOPE[..], &["--starttls", "--data", "none"]].concat()));
        let expected = ["CONNECT 220", "EHLO 250", "STARTTLS 220", "TLS", "EHLO 250", "MAIL 250", "RCPT 250", "RSET 250", "QUIT 221"];
        assert_eq!(exchanged(&inside["probe"]), expected);
        is_delay(server_s(&inside, "RCPT"));
        assert!(server_s(&inside, "MAIL") < DELAY_S / 2.0, "{inside:#}");
    }
}

fn of_postfix() {
    let lab = lab_of("postfix-sasl-slow", "postfix", |scenario| {
        scenario.late.iter_mut().for_each(|late| late.delay_s = DELAY_S);
        scenario.postfix.tls = true;
        scenario.policy = Some(Policy { delay_s: DELAY_S, ..Policy::default() });
        scenario.postfix.main.insert("smtpd_recipient_restrictions".into(), "check_policy_service inet:10.99.0.1:10031".into());
    });
    plays_a_message(&lab, true);
    let session = login(&lab, &["--auth-without-tls"], "refused");
    assert_eq!(exchanged(&session["probe"]), ["CONNECT 220", "EHLO 250", "AUTH 535", "QUIT 221"]);
    is_delay(server_s(&session, "AUTH"));
}

fn of_exim() {
    let lab = lab_of("exim-starttls", "exim", |scenario| {
        scenario.late.iter_mut().for_each(|late| late.delay_s = DELAY_S);
        scenario.saslauthd = Some(saslauthd("PLAIN", false));
    });
    plays_a_message(&lab, true);
    let session = login(&lab, &["--auth-without-tls", "--quit-after", "auth"], "accepted");
    assert_eq!(exchanged(&session["probe"]), ["CONNECT 220", "EHLO 250", "AUTH 235", "QUIT 221"]);
    is_delay(server_s(&session, "AUTH"));
}

/// An event loop, of which what lookup waits for is the session's. Its TLS is not asked (Debian's build fails in the handshake).
fn of_opensmtpd() {
    let lab = lab_of("opensmtpd-filter-slow", "opensmtpd", |scenario| scenario.opensmtpd.filter_s = Some(DELAY_S));
    plays_a_message(&lab, false);
}

fn an_interrupt_tells_what_is_known() {
    let lab = lab_with("interrupt", |scenario| {
        scenario.dns.rules = vec![DnsRule { name: "example.com".into(), qtype: "AAAA".into(), action: DnsAction::Silent, ..DnsRule::default() }];
    });
    let mut command = Command::new(lab::run::tracer_path().unwrap());
    let pid = lab.daemon_pid().to_string();
    command.args(["probe", "-p", &pid, "--to", "10.99.0.2", "--hooks", "tracepoint", "--format", "json"]).args(ENVELOPE);
    lab.enter_client(&mut command).unwrap();
    let tracer = Tracer::start_in(&mut command, &lab.dir().join("tracer")).unwrap();
    let is_asked = |what: &What| matches!(what, What::DnsQuery { qname, qtype, .. } if qname == "example.com" && qtype == "AAAA");
    lab.journal().wait_for(0, LIMIT, is_asked).expect("the name server is asked");
    let ended = tracer.interrupt(LIMIT).unwrap();
    assert_eq!(code(&ended), Some(1));
    assert!(ended.stderr.contains("the trace ended before the client was done"), "{}", ended.stderr);
    let report: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(report["sessions"][0]["commands"].as_array().unwrap().last().unwrap()["verb"], "MAIL", "{report:#}");
}
