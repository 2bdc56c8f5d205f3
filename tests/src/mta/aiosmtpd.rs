//! aiosmtpd (Debian's `python3-aiosmtpd`): a mail server that the tracer does not know, with an event loop and threads beside it.
//!
//! In come the scenario and the unpacked packages, out comes the handler that it is started with: it looks up the domain of a sender, as such handlers
//! do, in a thread of the loop's own, does for a recipient what the scenario says, and throws messages away. The machine's Python runs it.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::Mta;
use super::etc::{make_certificate, write};
use crate::packages::{Packages, Set};
use crate::scenario::Scenario;

/// aiosmtpd.
pub struct Aiosmtpd;

const SET: Set = Set {
    name: "aiosmtpd",
    packages: &["python3-aiosmtpd", "python3-attr", "python3-public", "python3-typing-extensions", "python3-pkg-resources"],
    programs: &[],
};

impl Mta for Aiosmtpd {
    fn name(&self) -> &'static str {
        "aiosmtpd"
    }

    fn sets(&self) -> &'static [Set] {
        &[SET]
    }

    fn libraries(&self) -> &'static str {
        "aiosmtpd-libraries"
    }

    fn configure(&self, etc: &Path, scenario: &Scenario, _packages: &Packages) -> Result<()> {
        let rcpt = scenario.aiosmtpd.rcpt.iter().fold(String::new(), |text, line| text + "        " + line + "\n");
        write(&etc.join("aiosmtpd/lab_handler.py"), &format!("{HANDLER}{rcpt}{ACCEPTED}"))?;
        if scenario.aiosmtpd.tls {
            make_certificate(&etc.join("aiosmtpd"))?;
        }
        Ok(())
    }

    fn command(&self, scenario: &Scenario, packages: &Packages) -> Command {
        let mut command = packages.command(Path::new("/usr/bin/python3"));
        let modules = packages.file(SET.name, "usr/lib/python3/dist-packages");
        command.env("PYTHONPATH", format!("{}:/etc/aiosmtpd", modules.display())).env("PYTHONDONTWRITEBYTECODE", "1");
        command.args(["-m", "aiosmtpd", "-n", "-c", "lab_handler.Handler", "-l", "10.99.0.2:25"]);
        if scenario.aiosmtpd.tls {
            command.args(["--tlscert", "/etc/aiosmtpd/cert.pem", "--tlskey", "/etc/aiosmtpd/key.pem", "--no-requiretls"]);
        }
        command
    }

    fn queue(&self) -> &'static str {
        "aiosmtpd"
    }

    /// Nobody serves a session alone.
    fn serving(&self, _daemon: u32) -> Vec<u32> {
        Vec::new()
    }
}

const HANDLER: &str = "\
import asyncio
import socket


class Handler:
    @classmethod
    def from_cli(cls, parser, *args):
        return cls()

    async def handle_MAIL(self, server, session, envelope, address, options):
        try:
            await asyncio.get_running_loop().getaddrinfo(address.rpartition('@')[2], 25, family=socket.AF_INET)
        except OSError:
            return '451 4.1.8 The domain of the sender cannot be looked up'
        envelope.mail_from = address
        return '250 2.1.0 OK'

    async def handle_DATA(self, server, session, envelope):
        return '250 2.0.0 Message accepted'

    async def handle_RCPT(self, server, session, envelope, address, options):
";
/// The end of the handler, behind the scenario's own lines.
const ACCEPTED: &str = "        envelope.rcpt_tos.append(address)\n        return '250 2.1.5 OK'\n";
