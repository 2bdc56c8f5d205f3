//! Postfix: what it reads, from the scenario's table `postfix`, and how its `master` is started.
//!
//! In come the scenario and the unpacked packages, out come `main.cf` and `master.cf`. Nothing is chrooted, since a chroot would need
//! copies of half an `/etc`; otherwise the services are Debian's.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::etc::{HOSTNAME, make_certificate, write};
use super::{Account, Mta, children};
use crate::packages::{POSTFIX, Packages, Set, run};
use crate::scenario::Scenario;

/// Postfix.
pub struct Postfix;

const SET: Set = Set { name: POSTFIX.name, packages: POSTFIX.packages, programs: &["usr/lib/postfix/sbin/master", "usr/sbin/smtp-source"] };

/// Tables that Debian has in packages of their own.
const TABLES: Set = Set {
    name: "postfix-tables",
    packages: &["postfix-ldap", "postfix-mysql"],
    programs: &["usr/lib/postfix/postfix-ldap.so", "usr/lib/postfix/postfix-mysql.so"],
};

/// The group of the programs that put mail into the queue.
const POSTDROP: Account = Account { name: "postdrop", id: 112 };
const OWNER: Account = Account { name: "postfix", id: 111 };

/// Services that are made for each connection, or once: all of Debian's that have to do with receiving.
const SERVICES: &str = "\
pickup    unix  n - n 60    1 pickup
cleanup   unix  n - n -     0 cleanup
qmgr      unix  n - n 300   1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n -     - trivial-rewrite
bounce    unix  - - n -     0 bounce
defer     unix  - - n -     0 bounce
trace     unix  - - n -     0 bounce
verify    unix  - - n -     1 verify
proxymap  unix  - - n -     - proxymap
smtp      unix  - - n -     - smtp
error     unix  - - n -     - error
retry     unix  - - n -     - error
discard   unix  - - n -     - discard
anvil     unix  - - n -     1 anvil
dnsblog   unix  - - n -     0 dnsblog
postlog   unix-dgram n - n - 1 postlogd
";

impl Mta for Postfix {
    fn name(&self) -> &'static str {
        "postfix"
    }

    fn sets(&self) -> &'static [Set] {
        &[SET, TABLES]
    }

    fn libraries(&self) -> &'static str {
        "postfix-libraries"
    }

    fn accounts(&self) -> &'static [Account] {
        &[OWNER, POSTDROP]
    }

    fn configure(&self, etc: &Path, scenario: &Scenario, packages: &Packages) -> Result<()> {
        let dir = etc.join("postfix");
        write(&dir.join("main.cf"), &main_cf(scenario, packages))?;
        let table =
            |kind| format!("{kind} {} dict_{kind}_open\n", packages.file(TABLES.name, &format!("usr/lib/postfix/postfix-{kind}.so")).display());
        write(&dir.join("dynamicmaps.cf"), &["ldap", "mysql"].map(table).concat())?;
        let smtp =
            if scenario.postfix.master.is_empty() { vec!["10.99.0.2:smtp inet n - n - - smtpd".to_owned()] } else { scenario.postfix.master.clone() };
        write(&dir.join("master.cf"), &(smtp.join("\n") + "\n" + SERVICES))?;
        if scenario.postfix.tls {
            make_certificate(&dir)?;
        }
        if !scenario.postfix.access.is_empty() {
            let source = dir.join("access");
            write(&source, &(scenario.postfix.access.join("\n") + "\n"))?;
            // With a `main.cf` of its own: the lab's names users that only the lab's `/etc` has.
            let own = dir.join("postmap");
            write(&own.join("main.cf"), "mail_owner = daemon\nsetgid_group = mail\ndefault_privs = nobody\n")?;
            let mut command = packages.command(&file(packages, "usr/sbin/postmap"));
            run(command.arg("-c").arg(&own).arg(format!("hash:{}", source.display())))?;
        }
        Ok(())
    }

    /// The queue is new: its folders are made first, as `postfix check` would.
    fn command(&self, _scenario: &Scenario, packages: &Packages) -> Command {
        let mut command = packages.command(Path::new("/bin/sh"));
        command.arg("-c").arg(START).arg(file(packages, "usr/lib/postfix/sbin/master"));
        command
    }

    fn queue(&self) -> &'static str {
        "postfix"
    }

    /// What serves is made by `master` and stays for the next session.
    fn serving(&self, daemon: u32) -> Vec<u32> {
        let is_smtpd = |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim_end() == "smtpd");
        children(daemon).into_iter().filter(is_smtpd).collect()
    }
}

/// `$0` is `master`.
const START: &str = "\
cd /var/spool/postfix && mkdir -p active bounce corrupt defer deferred flush hold incoming maildrop pid private public saved trace /run/postfix &&
chown postfix active bounce corrupt defer deferred flush hold incoming private saved trace && chown postfix:postdrop maildrop public &&
chown postfix:postfix /run/postfix && chmod 700 active incoming private && chmod 1730 maildrop && chmod 710 public && exec \"$0\" -d -c /etc/postfix";

fn file(packages: &Packages, path: &str) -> PathBuf {
    packages.file(SET.name, path)
}

fn main_cf(scenario: &Scenario, packages: &Packages) -> String {
    let mut text = String::new();
    let mut set = |name: &str, value: &str| {
        let _ = writeln!(text, "{name} = {value}");
    };
    for (name, path) in [("daemon_directory", "usr/lib/postfix/sbin"), ("command_directory", "usr/sbin"), ("shlib_directory", "usr/lib/postfix")] {
        set(name, &file(packages, path).display().to_string());
    }
    for (name, value) in [
        ("compatibility_level", "3.6"),
        ("meta_directory", "/etc/postfix"),
        ("queue_directory", "/var/spool/postfix"),
        ("data_directory", "/run/postfix"),
        ("myhostname", HOSTNAME),
        ("mydestination", "lab.test, example.net"),
        ("mynetworks", "127.0.0.0/8"),
        ("inet_protocols", "all"),
        ("local_recipient_maps", ""),
        ("alias_maps", ""),
        ("alias_database", ""),
        ("default_transport", "discard"),
        ("local_transport", "discard"),
        // The loader must find the unpacked libraries for every program.
        ("import_environment", "MAIL_CONFIG MAIL_LOGTAG TZ LANG=C LD_LIBRARY_PATH"),
    ] {
        set(name, value);
    }
    if scenario.postfix.tls {
        for (name, value) in
            [("smtpd_tls_cert_file", "/etc/postfix/cert.pem"), ("smtpd_tls_key_file", "/etc/postfix/key.pem"), ("smtpd_tls_security_level", "may")]
        {
            set(name, value);
        }
    }
    if let Some(milter) = &scenario.milter {
        let socket =
            if milter.is_unix || milter.is_opendkim { "unix:/run/milter".to_owned() } else { format!("inet:10.99.0.1:{}", crate::milter::PORT) };
        set("smtpd_milters", &socket);
    }
    for (name, value) in &scenario.postfix.main {
        set(name, value);
    }
    text
}
