//! A whole `/etc` of the MTA's own, as far as it is the same for all of them: accounts, names, resolver, SASL, linker.
//!
//! In come the scenario and the accounts, out comes a folder to be mounted over `/etc`. Nothing of the machine's `/etc` is used but
//! the linker's cache and OpenSSL's defaults. Not here: what only one MTA reads.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::{Account, Mta};
use crate::packages::{Packages, run};
use crate::scenario::{Dns, Scenario};
use crate::unbound;

/// Name of the MTA's host.
pub const HOSTNAME: &str = "mx.lab.test";

const BASE: &[(&str, &str)] = &[
    ("services", "smtp 25/tcp mail\ndomain 53/tcp\ndomain 53/udp\nauth 113/tcp ident\nsubmission 587/tcp\n"),
    ("protocols", "ip 0 IP\nicmp 1 ICMP\ntcp 6 TCP\nudp 17 UDP\nipv6 41 IPv6\n"),
    ("host.conf", "multi on\n"),
    // Its own name and address must not depend on the faulty name servers.
    ("hosts", "127.0.0.1 localhost\n::1 localhost\n10.99.0.2 mx.lab.test mx\nfd99::2 mx.lab.test mx\n"),
    ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\naliases: files\n"),
];

/// Makes the folder, with what the MTA adds to it.
pub fn write_etc(etc: &Path, mta: &dyn Mta, scenario: &Scenario, packages: &Packages) -> Result<()> {
    for dir in ["sasl2", "ssl"] {
        std::fs::create_dir_all(etc.join(dir)).with_context(|| format!("create {}/{dir}", etc.display()))?;
    }
    for (name, text) in BASE {
        write(&etc.join(name), text)?;
    }
    write_accounts(etc, mta.accounts())?;
    write(&etc.join("resolv.conf"), &resolv_conf(&scenario.dns))?;
    for (from, to) in [("/etc/ld.so.cache", "ld.so.cache"), ("/etc/ssl/openssl.cnf", "ssl/openssl.cnf")] {
        // Machines without these files do without.
        if Path::new(from).is_file() {
            std::fs::copy(from, etc.join(to)).with_context(|| format!("copy {from}"))?;
        }
    }
    mta.configure(etc, scenario, packages)
}

/// Writes a file that mail servers and libsasl trust: nobody else may write it, nor read what is secret.
pub fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    }
    std::fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    let is_secret = path.parent().is_some_and(|dir| dir.ends_with("sasl2")) || path.ends_with("key.pem");
    let mode = if is_secret { 0o600 } else { 0o644 };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).with_context(|| format!("chmod {}", path.display()))
}

/// A key and a certificate of its own, `key.pem` and `cert.pem`.
pub fn make_certificate(dir: &Path) -> Result<()> {
    let (key, cert) = (dir.join("key.pem"), dir.join("cert.pem"));
    run(Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=mx.lab.test"])
        .args(["-addext", "subjectAltName=DNS:mx.lab.test"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&cert))?;
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).context("chmod key.pem")
}

fn write_accounts(etc: &Path, accounts: &[Account]) -> Result<()> {
    let mut passwd = String::from(
        "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/:/usr/sbin/nologin\nmail:x:8:8:mail:/var/mail:/usr/sbin/nologin\n\
         nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
    );
    let mut group = String::from("root:x:0:\ndaemon:x:1:\nmail:x:8:\nsmmsp:x:102:\nnogroup:x:65534:\n");
    for Account { name, id } in accounts {
        let _ = writeln!(passwd, "{name}:x:{id}:{id}:{name}:/:/usr/sbin/nologin");
        let _ = writeln!(group, "{name}:x:{id}:");
    }
    write(&etc.join("passwd"), &passwd)?;
    write(&etc.join("group"), &group)
}

fn resolv_conf(dns: &Dns) -> String {
    let second = if dns.second_server { "nameserver 10.99.0.3\n" } else { "" };
    let options = if dns.options.is_empty() { String::new() } else { format!("options {}\n", dns.options) };
    let search = if dns.search.is_empty() { String::new() } else { format!("search {}\n", dns.search.join(" ")) };
    let first = if dns.has_resolver { unbound::ADDRESS.to_string() } else { dns.first().to_owned() };
    format!("nameserver {first}\n{second}{search}{options}")
}
