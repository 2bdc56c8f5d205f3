//! OpenSMTPD (Debian's `opensmtpd` and, for its tables, `opensmtpd-extras`): its one configuration file, made from the scenario's table `opensmtpd`, and how it is started.
//!
//! In come the scenario and the unpacked packages, out come `smtpd.conf` of its `/etc` and a filter for it to start. What is
//! accepted is handed to a next hop that nobody looks up while the session lasts. Not here: deliveries.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::etc::{HOSTNAME, write};
use super::{Account, Mta, children, sleeps};
use crate::packages::{Packages, Set};
use crate::scenario::{OpenSmtpd as Settings, Scenario};

/// OpenSMTPD.
pub struct OpenSmtpd;

const SET: Set = Set { name: "opensmtpd", packages: &["opensmtpd"], programs: &["usr/sbin/smtpd"] };
const TABLES: Set = Set { name: "opensmtpd-tables", packages: &["opensmtpd-extras"], programs: &[TABLE] };
/// The program behind a table `ldap:...`; where it is looked for is compiled in.
const TABLE: &str = "usr/libexec/opensmtpd/table-ldap";

const OWNER: Account = Account { name: "opensmtpd", id: 104 };
const QUEUE: Account = Account { name: "opensmtpq", id: 105 };

/// The parent and those that it makes of itself: klondike, control, lookup, pony express, queue, scheduler.
const PROCESSES: usize = 6;

impl Mta for OpenSmtpd {
    fn name(&self) -> &'static str {
        "opensmtpd"
    }

    fn sets(&self) -> &'static [Set] {
        &[SET, TABLES]
    }

    fn libraries(&self) -> &'static str {
        "opensmtpd-libraries"
    }

    fn accounts(&self) -> &'static [Account] {
        &[OWNER, QUEUE]
    }

    fn configure(&self, etc: &Path, scenario: &Scenario, _packages: &Packages) -> Result<()> {
        write(&etc.join("mailname"), &format!("{HOSTNAME}\n"))?;
        write(&etc.join("smtpd.conf"), &text(scenario))?;
        write(&etc.join("smtpd-ldap.conf"), &scenario.opensmtpd.ldap.join("\n"))?;
        write(&etc.join("smtpd-filter"), &filter(&scenario.opensmtpd))
    }

    /// The folder of its chroot is there only where the package is installed.
    fn command(&self, _scenario: &Scenario, packages: &Packages) -> Command {
        let mut command = packages.command(Path::new("/bin/sh"));
        command.arg("-c").arg(START).arg(packages.file(SET.name, "usr/sbin/smtpd")).arg(packages.file(TABLES.name, TABLE));
        command
    }

    fn is_ready(&self, daemon: u32) -> bool {
        // They get their configuration by messages, one after another.
        let processes = children(daemon);
        processes.len() >= PROCESSES && processes.into_iter().all(sleeps)
    }

    fn queue(&self) -> &'static str {
        "smtpd"
    }

    /// Nobody serves a session alone, and all stay.
    fn serving(&self, _daemon: u32) -> Vec<u32> {
        Vec::new()
    }
}

/// `$0` is `smtpd`, `$1` a table's program. The chroot of those that serve is a folder that is compiled in.
const START: &str = "\
mount -t tmpfs -o mode=0755 lab /var/lib && mkdir -p /var/lib/opensmtpd/empty &&
mount -t tmpfs -o mode=0755 lab /usr/libexec && mkdir /usr/libexec/opensmtpd && cp \"$1\" /usr/libexec/opensmtpd &&
chmod 711 /var/spool/smtpd && chown 0:0 /var/spool/smtpd && exec \"$0\" -d -f /etc/smtpd.conf";

fn text(scenario: &Scenario) -> String {
    let Settings { conf, listen, filter_s, .. } = &scenario.opensmtpd;
    let mut text = String::new();
    if filter_s.is_some() {
        text.push_str("filter slow proc-exec \"/bin/sh /etc/smtpd-filter\"\n");
    }
    for line in conf {
        text.push_str(line);
        text.push('\n');
    }
    let filter = if filter_s.is_some() { " filter slow" } else { "" };
    text + &format!("listen on 10.99.0.2 port 25 {listen}{filter}\naction hand relay host smtp://10.99.0.1\nmatch from any for any action hand\n")
}

/// A filter (smtpd-filters(7)) that answers one phase late and all others at once.
fn filter(settings: &Settings) -> String {
    let (phase, seconds) = (&settings.filter_phase, settings.filter_s.unwrap_or(0.0));
    format!(
        "while IFS='|' read -r kind rest; do [ \"$kind\" = config ] && [ \"$rest\" = ready ] && break; done\n\
         echo 'register|filter|smtp-in|{phase}'\necho 'register|ready'\n\
         while IFS='|' read -r kind version time side phase session token rest; do\n\
         sleep {seconds}\necho \"filter-result|$session|$token|proceed\"\ndone\n"
    )
}
