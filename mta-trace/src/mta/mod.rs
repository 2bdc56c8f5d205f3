//! What is known of each mail server: one file for each, behind one trait.
//!
//! In: a name, a program, a word of the server. Out: how its processes share sessions, what its sockets, titles and replies mean, and what
//! it calls its settings. Another server is one more file and one more line in [`ALL`]. Pure: who reads files and titles is `kernel/`, and
//! which advice fits is decided by the rules of `diagnosis/`.

mod exim;
mod generic;
mod opensmtpd;
mod postfix;
mod sendmail;
mod setting;
mod topic;
mod version;

pub use setting::{Form, Found, Setting, Started, Value, peers};
pub use topic::{DaemonTopic, Refusal, Service, Topic};

use crate::report::Cause;

/// How the processes of a mail server share its sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// The daemon accepts, and forks a process for each session.
    ForkPerSession,
    /// Processes that were forked before accept by themselves, and serve one session after another.
    PreForked,
    /// One process (or one for each processor) serves many sessions at a time; if it asks other processes of its own, `has_messages` says how.
    EventLoop {
        /// By imsg messages.
        has_messages: bool,
    },
}

/// A mail server. What a file leaves out has no special form with that server.
pub trait Mta: Sync {
    /// `sendmail`, as `--mta` and reports call it.
    fn name(&self) -> &'static str;

    /// File names of its programs.
    fn programs(&self) -> &'static [&'static str];

    /// How its processes share its sessions.
    fn shape(&self) -> Shape;

    /// Of a server of the shape [`Shape::PreForked`]: the program of its own, if there is one, that accepts for the others in an event loop, and passes
    /// on to them who is to be served.
    fn screener(&self) -> Option<&'static str> {
        None
    }

    /// Whether a program is one of its own, by its path.
    fn has_program(&self, exe: &str) -> bool {
        self.programs().contains(&exe.rsplit('/').next().unwrap_or(exe))
    }

    /// Its version, found in its program; none: it is not there, or not to be told from other strings.
    fn version_in(&self, _program: &[u8]) -> Option<String> {
        None
    }

    /// What its daemon's title says about new connections, and nothing else of it: a title may hold a client's words.
    fn daemon_state_in<'a>(&self, _title: &'a str) -> Option<&'a str> {
        None
    }

    /// What such a state means, if the daemon does not simply accept.
    fn refusal_in(&self, _state: &str) -> Option<Refusal> {
        None
    }

    /// The client's line in the title of a process that serves a session: the caller may take its verb, nothing else.
    fn command_in<'a>(&self, _title: &'a str) -> Option<&'a str> {
        None
    }

    /// Which of its services a process is, by its title; nothing else is taken of one.
    fn service_in(&self, _title: &str) -> Option<&'static str> {
        None
    }

    /// The service of its own behind the path of a unix socket.
    fn service_at(&self, _path: &str) -> Option<Service> {
        None
    }

    /// The queue id in the words of its reply to a message, which follow the code.
    fn queue_id_in<'a>(&self, _words: &[&'a str]) -> Option<&'a str> {
        None
    }

    /// Whether a process that serves a session asks other mail servers about addresses by itself.
    fn verifies_itself(&self) -> bool {
        true
    }

    /// Whether a process that serves a session may hand its message on before the reply; others have further processes for that.
    fn delivers_itself(&self) -> bool {
        false
    }

    /// Whether it calls `nanosleep` only where somebody configured a pause.
    fn sleeps_only_if_told(&self) -> bool {
        false
    }

    /// What to look at.
    fn advice(&self, topic: Topic) -> &'static str {
        generic::advice(topic)
    }

    /// A command that shows the setting, or confirms what it does.
    fn check(&self, topic: Topic) -> Option<&'static str> {
        generic::check(topic)
    }

    /// How to make the server itself say what it does, where asking its peer by hand does not show it. `CLIENT` stands for the
    /// client's address, `DOMAIN` for the one in the command.
    fn debug(&self, _topic: Topic) -> Option<&'static str> {
        None
    }

    /// The settings whose values may be told.
    fn settings(&self) -> &'static [Setting] {
        &[]
    }

    /// Its configuration files, as its root sees them: of each list the first that exists.
    fn files(&self, _started: &Started) -> Vec<Vec<String>> {
        Vec::new()
    }

    /// Files in which its daemon leaves its number and, in the next line, its command line, over which it has written a title in memory.
    fn pid_files(&self) -> &'static [&'static str] {
        &[]
    }

    /// What one of them says of the settings.
    fn settings_in(&self, _file: &str, _text: &str) -> Found {
        Found::default()
    }

    /// What the service is whose address this setting gives.
    fn peer_of_setting(&self, _name: &str) -> Option<Cause> {
        None
    }

    /// What one of its own timers is called, with the value that it had: for the cause whose wait it ended, and the milter's stage.
    fn timer_setting(&self, _cause: Cause, _stage: Option<&str>, _timer_s: f64) -> Option<String> {
        None
    }
}

/// One line for each.
pub const ALL: &[&dyn Mta] = &[&sendmail::Sendmail, &postfix::Postfix, &exim::Exim, &opensmtpd::OpenSmtpd];

/// The one of this name; a server that is not known has general advice.
pub fn by_name(name: &str) -> &'static dyn Mta {
    known(name).unwrap_or(&generic::Generic)
}

/// The one of this name, if it is known.
pub fn known(name: &str) -> Option<&'static dyn Mta> {
    ALL.iter().copied().find(|mta| mta.name() == name)
}

/// The one of which this is a program, if it is known.
pub fn by_program(exe: &str) -> Option<&'static dyn Mta> {
    ALL.iter().copied().find(|mta| mta.has_program(exe))
}

/// The queue id in the reply to a message, of whichever server.
pub fn queue_id(reply: &str) -> Option<String> {
    let text = reply.strip_prefix("250")?.trim_start_matches(['-', ' ']);
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let id = ALL.iter().find_map(|mta| mta.queue_id_in(&words))?;
    let is_id = !id.is_empty() && id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    is_id.then(|| id.to_owned())
}

#[cfg(test)]
mod setting_tests;
#[cfg(test)]
mod tests;
