//! Exim (Debian's `exim4-daemon-heavy`): its one configuration file, made from the scenario's table `exim`, and how it is started.
//!
//! In come the scenario and the unpacked packages, out comes `exim4/exim4.conf` of its `/etc`, which is the path that Debian compiles in:
//! one named by `-C` would need a trusted prefix. Not here: deliveries, unless the scenario asks for them.

use std::fmt::Write as _;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::etc::{HOSTNAME, make_certificate, write};
use super::{Account, Mta, children, sleeps};
use crate::packages::{Packages, Set};
use crate::scenario::{Exim as Settings, Saslauthd, Scenario};

/// Exim.
pub struct Exim;

const SET: Set = Set { name: "exim", packages: &["exim4-daemon-heavy", "exim4-base"], programs: &["usr/sbin/exim4"] };

/// The user that Debian compiles in, by name; its number is the lab's.
const USER: Account = Account { name: "Debian-exim", id: 103 };

impl Mta for Exim {
    fn name(&self) -> &'static str {
        "exim"
    }

    fn sets(&self) -> &'static [Set] {
        &[SET]
    }

    fn libraries(&self) -> &'static str {
        "exim-libraries"
    }

    fn accounts(&self) -> &'static [Account] {
        &[USER]
    }

    fn user(&self) -> u32 {
        USER.id
    }

    fn configure(&self, etc: &Path, scenario: &Scenario, _packages: &Packages) -> Result<()> {
        let dir = etc.join("exim4");
        write(&dir.join("exim4.conf"), &text(scenario))?;
        if scenario.exim.tls {
            make_certificate(&dir)?;
            // Who serves is not root any more when it reads its key.
            chown(dir.join("key.pem"), Some(USER.id), None).context("chown key.pem")?;
        }
        Ok(())
    }

    fn command(&self, _scenario: &Scenario, packages: &Packages) -> Command {
        let mut command = packages.command(&packages.file(SET.name, "usr/sbin/exim4"));
        command.arg("-bdf");
        command
    }

    fn is_ready(&self, daemon: u32) -> bool {
        // It listens first and reads on then: for a third of a second it would not accept. At its start it has a child, too.
        children(daemon).is_empty() && sleeps(daemon)
    }

    fn queue(&self) -> &'static str {
        "exim4"
    }

    fn queue_folders(&self) -> &'static [&'static str] {
        &["db", "input", "msglog"]
    }
}

fn text(scenario: &Scenario) -> String {
    let Settings { main, acl, router, transport, is_delivering, tls } = &scenario.exim;
    let mut text = format!("primary_hostname = {HOSTNAME}\n");
    let defaults = [
        ("local_interfaces", "<; 10.99.0.2"),
        ("daemon_smtp_ports", "25"),
        ("log_file_path", "syslog"),
        ("pid_file_path", "/run/exim.pid"),
        // Nothing is set-user-ID here, so what it executes again needs its libraries named.
        ("keep_environment", "LD_LIBRARY_PATH"),
        ("deliver_drop_privilege", "true"),
        ("host_lookup", "*"),
        ("tls_advertise_hosts", if *tls { "*" } else { "" }),
        ("tls_certificate", if *tls { "/etc/exim4/cert.pem" } else { "" }),
        ("tls_privatekey", if *tls { "/etc/exim4/key.pem" } else { "" }),
        ("queue_only", if *is_delivering { "false" } else { "true" }),
    ];
    let is_given = |name: &str| main.iter().any(|line| line.split('=').next().is_some_and(|given| given.trim() == name));
    for (name, value) in defaults.iter().filter(|(name, _)| !is_given(name)) {
        let _ = writeln!(text, "{name} = {value}");
    }
    lines(&mut text, main);
    // Without this one it accepts no recipient.
    let is_default_rcpt = !acl.contains_key("rcpt");
    for stage in acl.keys().map(String::as_str).chain(is_default_rcpt.then_some("rcpt")) {
        let _ = writeln!(text, "acl_smtp_{stage} = acl_{stage}");
    }
    text.push_str("begin acl\n");
    for (stage, rules) in acl {
        let _ = writeln!(text, "acl_{stage}:");
        lines(&mut text, rules);
        text.push_str("  accept\n");
    }
    if is_default_rcpt {
        text.push_str("acl_rcpt:\n  accept\n");
    }
    text.push_str("begin routers\nlookup:\n  driver = dnslookup\n  transport = smtp\n");
    lines(&mut text, router);
    text.push_str("begin transports\nsmtp:\n  driver = smtp\n");
    lines(&mut text, transport);
    text.push_str("begin retry\n* * F,2h,15m\n");
    if let Some(Saslauthd { mechanisms, .. }) = &scenario.saslauthd {
        text.push_str("begin authenticators\n");
        for mechanism in mechanisms.split_whitespace() {
            text.push_str(&authenticator(mechanism));
        }
    }
    text
}

fn lines(text: &mut String, more: &[String]) {
    for line in more {
        let _ = writeln!(text, "  {line}");
    }
}

/// The driver `plaintext` asks for three values (PLAIN) or for two of them one after the other (LOGIN).
fn authenticator(mechanism: &str) -> String {
    let (user, password, prompts) = if mechanism == "LOGIN" {
        ("$auth1", "$auth2", "  server_prompts = Username:: : Password::\n")
    } else {
        ("$auth2", "$auth3", "  server_prompts = :\n")
    };
    format!(
        "{mechanism}:\n  driver = plaintext\n  public_name = {mechanism}\n{prompts}  \
         server_condition = ${{if saslauthd{{{{{user}}}{{{password}}}}}{{1}}{{0}}}}\n  server_set_id = {user}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_scenario_gives_replaces_a_default() {
        let scenario = Scenario { exim: Settings { main: vec!["host_lookup =".to_owned()], ..Settings::default() }, ..Scenario::default() };
        let text = text(&scenario);
        assert!(text.contains("\n  host_lookup =\n") && !text.contains("host_lookup = *"), "{text}");
        assert!(text.contains("acl_smtp_rcpt = acl_rcpt\nbegin acl\nacl_rcpt:\n  accept\n"), "{text}");
    }

    #[test]
    fn a_password_is_asked_of_saslauthd() {
        assert!(authenticator("PLAIN").contains("${if saslauthd{{$auth2}{$auth3}}{1}{0}}"));
        assert!(authenticator("LOGIN").contains("${if saslauthd{{$auth1}{$auth2}}{1}{0}}"));
    }
}
