//! Everything that sendmail reads: a whole `/etc` of its own, with the `.cf` made by m4 from the scenario.
//!
//! In come the scenario and the unpacked packages, out comes a folder to be mounted over `/etc`. Nothing of the
//! machine's `/etc` is used but the linker's cache and OpenSSL's defaults.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::packages::{Packages, run};
use crate::scenario::{Dns, Saslauthd, Scenario, Sendmail};

/// Name of the MTA's host.
pub const HOSTNAME: &str = "mx.lab.test";

const BASE: &[(&str, &str)] = &[
    (
        "passwd",
        "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/:/usr/sbin/nologin\nmail:x:8:8:mail:/var/mail:/usr/sbin/nologin\n\
         nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
    ),
    ("group", "root:x:0:\ndaemon:x:1:\nmail:x:8:\nsmmsp:x:102:\nnogroup:x:65534:\n"),
    ("services", "smtp 25/tcp mail\ndomain 53/tcp\ndomain 53/udp\nauth 113/tcp ident\nsubmission 587/tcp\n"),
    ("protocols", "ip 0 IP\nicmp 1 ICMP\ntcp 6 TCP\nudp 17 UDP\nipv6 41 IPv6\n"),
    ("host.conf", "multi on\n"),
    // Its own name and address must not depend on the faulty name servers.
    ("hosts", "127.0.0.1 localhost\n::1 localhost\n10.99.0.2 mx.lab.test mx\nfd99::2 mx.lab.test mx\n"),
    ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\naliases: files\n"),
    ("mail/service.switch", "hosts dns files\naliases files\npasswd files\n"),
    ("mail/local-host-names", ""),
    ("mail/trusted-users", ""),
    ("mail/relay-domains", ""),
    ("mail/helpfile", "#vers 2\n"),
];

/// Makes the folder.
pub fn write_etc(etc: &Path, scenario: &Scenario, packages: &Packages) -> Result<()> {
    for dir in ["mail", "sasl2", "ssl"] {
        std::fs::create_dir_all(etc.join(dir)).with_context(|| format!("create {}/{dir}", etc.display()))?;
    }
    for (name, text) in BASE {
        write(&etc.join(name), text)?;
    }
    write(&etc.join("resolv.conf"), &resolv_conf(&scenario.dns))?;
    if let Some(Saslauthd { mechanisms, .. }) = &scenario.saslauthd {
        let text = format!("pwcheck_method: saslauthd\nmech_list: {mechanisms}\nsaslauthd_path: /var/run/saslauthd/mux\n");
        write(&etc.join("sasl2/Sendmail.conf"), &text)?;
    }
    for (from, to) in [("/etc/ld.so.cache", "ld.so.cache"), ("/etc/ssl/openssl.cnf", "ssl/openssl.cnf")] {
        // Machines without these files do without.
        if Path::new(from).is_file() {
            std::fs::copy(from, etc.join(to)).with_context(|| format!("copy {from}"))?;
        }
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

/// Writes a file that sendmail and libsasl trust: nobody else may read or write it.
fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    let mode = if path.ends_with("Sendmail.conf") || path.ends_with("key.pem") { 0o600 } else { 0o644 };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).with_context(|| format!("chmod {}", path.display()))
}

fn resolv_conf(dns: &Dns) -> String {
    let second = if dns.second_server { "nameserver 10.99.0.3\n" } else { "" };
    let options = if dns.options.is_empty() { String::new() } else { format!("options {}\n", dns.options) };
    format!("nameserver 10.99.0.1\n{second}{options}")
}

fn make_map(etc: &Path, name: &str, lines: &[String], packages: &Packages) -> Result<()> {
    let source = etc.join("mail").join(name);
    write(&source, &lines.iter().fold(String::new(), |text, line| text + line + "\n"))?;
    let input = std::fs::File::open(&source).with_context(|| format!("open {}", source.display()))?;
    let output = packages
        .command(&packages.sendmail("usr/libexec/sendmail/makemap"))
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

fn make_certificate(mail: &Path) -> Result<()> {
    let (key, cert) = (mail.join("key.pem"), mail.join("cert.pem"));
    run(Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=mx.lab.test"])
        .args(["-addext", "subjectAltName=DNS:mx.lab.test"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&cert))?;
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).context("chmod key.pem")
}

fn make_cf(etc: &Path, scenario: &Scenario, packages: &Packages) -> Result<()> {
    let mc = etc.join("mail/sendmail.mc");
    write(&mc, &mc_text(scenario))?;
    let cf = packages.sendmail("usr/share/sendmail/cf");
    let output = Command::new(packages.sendmail("usr/bin/m4"))
        .arg(format!("-D_CF_DIR_={}/", cf.display()))
        .arg(cf.join("m4/cf.m4"))
        .arg(&mc)
        .output()
        .context("run m4")?;
    ensure!(output.status.success(), "m4: {}", String::from_utf8_lossy(&output.stderr).trim());
    write(&etc.join("mail/sendmail.cf"), &String::from_utf8_lossy(&output.stdout))
}

fn mc_text(scenario: &Scenario) -> String {
    let Sendmail { features, define, mc, access: _, listen, tls, stopped_s: _, listen_queue, crowd: _ } = &scenario.sendmail;
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
        let socket = if milter.is_unix { "local:/run/milter".to_owned() } else { format!("inet:{}@10.99.0.1", crate::milter::PORT) };
        let timeouts = if milter.timeouts.is_empty() { String::new() } else { format!(", T={}", milter.timeouts) };
        let _ = writeln!(text, "INPUT_MAIL_FILTER(`lab', `S={socket}, F=T{timeouts}')dnl");
    }
    text.push_str("MAILER(`local')dnl\nMAILER(`smtp')dnl\nLOCAL_CONFIG\nCwlocalhost lab.test mx.lab.test\n");
    for line in mc {
        let _ = writeln!(text, "{line}");
    }
    text
}
