//! sendmail: what it reads, with the `.cf` made by m4 from the scenario's table `sendmail`, and how it is started.
//!
//! In come the scenario and the unpacked packages, out come the files of its `/etc` that no other MTA reads.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::Mta;
use super::etc::{HOSTNAME, make_certificate, write};
use crate::packages::{POSTFIX, Packages, Set};
use crate::scenario::{Saslauthd, Scenario, Sendmail as Settings};

/// sendmail.
pub struct Sendmail;

const SET: Set = Set {
    name: "sendmail",
    packages: &["sendmail-bin", "sendmail-base", "sendmail-cf", "sensible-mda", "m4"],
    programs: &["usr/libexec/sendmail/sendmail", "usr/libexec/sendmail/makemap"],
};

const BASE: &[(&str, &str)] = &[
    ("mail/service.switch", "hosts dns files\naliases files\npasswd files\n"),
    ("mail/local-host-names", ""),
    ("mail/trusted-users", ""),
    ("mail/relay-domains", ""),
    ("mail/helpfile", "#vers 2\n"),
];

impl Mta for Sendmail {
    fn name(&self) -> &'static str {
        "sendmail"
    }

    fn sets(&self) -> &'static [Set] {
        // With Postfix's load generator.
        &[SET, POSTFIX]
    }

    fn libraries(&self) -> &'static str {
        "libraries"
    }

    fn configure(&self, etc: &Path, scenario: &Scenario, packages: &Packages) -> Result<()> {
        for (name, text) in BASE {
            write(&etc.join(name), text)?;
        }
        if let Some(Saslauthd { mechanisms, .. }) = &scenario.saslauthd {
            let text = format!("pwcheck_method: saslauthd\nmech_list: {mechanisms}\nsaslauthd_path: /var/run/saslauthd/mux\n");
            write(&etc.join("sasl2/Sendmail.conf"), &text)?;
        }
        make_cf(etc, scenario, packages)?;
        // sendmail waits up to ten minutes for the entry that says that the aliases are complete.
        make_map(etc, "aliases", &["postmaster root".to_owned(), "@ @".to_owned()], packages)?;
        make_map(etc, "access", &scenario.sendmail.access, packages)?;
        if scenario.sendmail.tls {
            make_certificate(&etc.join("mail"))?;
        }
        Ok(())
    }

    fn command(&self, _scenario: &Scenario, packages: &Packages) -> Command {
        let mut command = packages.command(&file(packages, "usr/libexec/sendmail/sendmail"));
        command.args(["-bD", "-C/etc/mail/sendmail.cf"]);
        command
    }

    fn queue(&self) -> &'static str {
        "mqueue"
    }

    fn sockets(&self, scenario: &Scenario) -> usize {
        scenario.sendmail.listen.len().max(1)
    }
}

/// A file of its packages, by its path in them.
fn file(packages: &Packages, path: &str) -> PathBuf {
    packages.file(SET.name, path)
}

fn make_map(etc: &Path, name: &str, lines: &[String], packages: &Packages) -> Result<()> {
    let source = etc.join("mail").join(name);
    write(&source, &lines.iter().fold(String::new(), |text, line| text + line + "\n"))?;
    let input = std::fs::File::open(&source).with_context(|| format!("open {}", source.display()))?;
    let output = packages
        .command(&file(packages, "usr/libexec/sendmail/makemap"))
        .arg("-C")
        .arg(etc.join("mail/sendmail.cf"))
        .args(["-s", "hash"])
        .arg(&source)
        .stdin(input)
        .output()
        .context("run makemap")?;
    ensure!(output.status.success(), "makemap {name}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

fn make_cf(etc: &Path, scenario: &Scenario, packages: &Packages) -> Result<()> {
    let mc = etc.join("mail/sendmail.mc");
    write(&mc, &mc_text(scenario))?;
    let cf = file(packages, "usr/share/sendmail/cf");
    let output = Command::new(file(packages, "usr/bin/m4"))
        .arg(format!("-D_CF_DIR_={}/", cf.display()))
        .arg(cf.join("m4/cf.m4"))
        .arg(&mc)
        .output()
        .context("run m4")?;
    ensure!(output.status.success(), "m4: {}", String::from_utf8_lossy(&output.stderr).trim());
    write(&etc.join("mail/sendmail.cf"), &String::from_utf8_lossy(&output.stdout))
}

fn mc_text(scenario: &Scenario) -> String {
    let Settings { features, define, mc, access: _, listen, tls, stopped_s: _, listen_queue, crowd: _ } = &scenario.sendmail;
    let mut text = String::from("VERSIONID(`mta-trace lab')\nOSTYPE(`linux')\n");
    let defaults = [
        ("confDOMAIN_NAME", HOSTNAME),
        ("confPID_FILE", "/run/sendmail.pid"),
        ("STATUS_FILE", "/etc/mail/statistics"),
        ("QUEUE_DIR", "/var/spool/mqueue"),
        ("confDELIVERY_MODE", "queueonly"),
        ("confDEF_USER_ID", "mail:mail"),
        ("confTRUSTED_USER", "root"),
        // What the machine does besides must not change what sendmail does.
        ("confREFUSE_LA", "10000"),
        ("confQUEUE_LA", "10000"),
        ("confDELAY_LA", "0"),
        ("confPRIVACY_FLAGS", "authwarnings"),
        ("HELP_FILE", "/etc/mail/helpfile"),
    ];
    let is_default = |name: &str| !define.contains_key(name);
    let given = define.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in defaults.into_iter().filter(|(name, _)| is_default(name)).chain(given) {
        let _ = writeln!(text, "define(`{name}', `{value}')dnl");
    }
    if *tls {
        for (name, file) in [("SERVER_CERT", "cert"), ("SERVER_KEY", "key"), ("CACERT", "cert")] {
            let _ = writeln!(text, "define(`conf{name}', `/etc/mail/{file}.pem')dnl");
        }
        text.push_str("define(`confCACERT_PATH', `/etc/mail')dnl\ndefine(`confTLS_SRV_OPTIONS', `V')dnl\n");
    }
    if let Some(Saslauthd { mechanisms, .. }) = &scenario.saslauthd {
        let _ = writeln!(text, "define(`confAUTH_MECHANISMS', `{mechanisms}')dnl\nTRUST_AUTH_MECH(`{mechanisms}')dnl");
    }
    if scenario.mailer.is_some() {
        let _ = writeln!(text, "define(`LOCAL_MAILER_PATH', `{}')dnl\ndefine(`LOCAL_MAILER_ARGS', `mailer $u')dnl", crate::mailer::PATH);
    }
    text.push_str("FEATURE(`no_default_msa')dnl\nFEATURE(`promiscuous_relay')dnl\nFEATURE(`access_db')dnl\n");
    for feature in features {
        let _ = writeln!(text, "FEATURE({feature})dnl");
    }
    let default_listen = ["10.99.0.2".to_owned()];
    let listen = if listen.is_empty() { &default_listen[..] } else { listen };
    for (index, address) in listen.iter().enumerate() {
        let family = if address.contains(':') { "inet6" } else { "inet" };
        let queue = if *listen_queue == 0 { String::new() } else { format!(", Listen={listen_queue}") };
        let _ = writeln!(text, "DAEMON_OPTIONS(`Name=MTA{index}, Family={family}, Addr={address}, Port=smtp{queue}')dnl");
    }
    if let Some(milter) = &scenario.milter {
        let socket =
            if milter.is_unix || milter.is_opendkim { "local:/run/milter".to_owned() } else { format!("inet:{}@10.99.0.1", crate::milter::PORT) };
        let timeouts = if milter.timeouts.is_empty() { String::new() } else { format!(", T={}", milter.timeouts) };
        let _ = writeln!(text, "INPUT_MAIL_FILTER(`lab', `S={socket}, F=T{timeouts}')dnl");
    }
    text.push_str("MAILER(`local')dnl\nMAILER(`smtp')dnl\nLOCAL_CONFIG\nCwlocalhost lab.test mx.lab.test\n");
    for line in mc {
        let _ = writeln!(text, "{line}");
    }
    text
}
