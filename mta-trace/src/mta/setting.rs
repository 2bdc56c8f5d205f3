//! Settings whose present value advice may name: an allow-list of each mail server, and the forms that a value must have.
//!
//! In: the text of a configuration file, which is hostile or at least full of secrets. Out: values of settings that are on the list, each of a form
//! in which no password, name or path fits. What is set but not of its form, or only under a condition, is known to be set and not told.

use super::Topic;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// Lines of a file that are looked at, and settings that are kept of it.
const MAX_LINES: usize = 100_000;
const MAX_FOUND: usize = 64;
/// Longest value that is told.
const MAX_VALUE: usize = 48;

/// A setting that advice names.
#[derive(Debug)]
pub struct Setting {
    /// As the configuration file calls it.
    pub name: &'static str,
    /// What its value looks like.
    pub form: Form,
    /// Where all versions that are documented agree on it.
    pub default: Option<&'static str>,
    /// What it is looked at for.
    pub topics: &'static [Topic],
}

/// What a value looks like. Anything else is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `20`, `500K`.
    Number,
    /// `5s`, `1h30m`, `20`.
    Time,
    /// One of these, in any case.
    Word(&'static [&'static str]),
    /// `C:10m;S:10s;R:20s;E:5m`: limits of a milter.
    Limits,
    /// `127.0.0.1:10024`, `inet:[::1]:10024`, `localhost:10024`: a service on an address.
    Peer,
}

impl Form {
    /// Whether a value has it.
    pub fn fits(self, value: &str) -> bool {
        value.len() <= MAX_VALUE
            && match self {
                Self::Number => is_number(value.strip_suffix(['k', 'K', 'm', 'M']).unwrap_or(value)),
                Self::Time => is_time(value),
                Self::Word(words) => words.iter().any(|word| word.eq_ignore_ascii_case(value)),
                Self::Limits => value
                    .split(';')
                    .all(|part| part.split_once(':').is_some_and(|(limit, time)| ["C", "S", "R", "E"].contains(&limit) && is_time(time))),
                Self::Peer => !peers(value).is_empty(),
            }
    }
}

/// The addresses of a value of the form [`Form::Peer`]. Other names would have to be looked up.
pub fn peers(value: &str) -> Vec<SocketAddr> {
    let value = value.strip_prefix("inet:").unwrap_or(value);
    match value.split_once(':') {
        Some(("localhost", port)) => {
            let port = port.parse().ok().filter(|_| is_number(port));
            port.map(|port| vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]).unwrap_or_default()
        }
        _ => value.parse().into_iter().collect(),
    }
}

fn is_number(text: &str) -> bool {
    (1..=7).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_time(text: &str) -> bool {
    let mut rest = text;
    while let Some((number, more)) = rest.split_once(['s', 'm', 'h', 'd', 'w']) {
        if !is_number(number) {
            return false;
        }
        rest = more;
    }
    !text.is_empty() && (rest.is_empty() || rest.len() == text.len() && is_number(rest))
}

/// A value as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// The setting, behind the service for which alone it holds, if there is one: `smtp/inet/smtpd_error_sleep_time`.
    pub name: String,
    /// None: it is set, but to something that is not told.
    pub value: Option<String>,
    /// Line, from 1.
    pub line: u32,
}

/// What a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// All of it was understood: what is not among the values is not set in it.
    pub is_whole: bool,
    /// Values, in the order of the file.
    pub values: Vec<Value>,
}

impl Default for Found {
    /// Nothing yet.
    fn default() -> Self {
        Self { is_whole: true, values: Vec::new() }
    }
}

impl Found {
    /// Takes a value, if the setting is on the list; a later one of the same name replaces it.
    pub fn set(&mut self, known: &[Setting], name: &str, value: Option<&str>, line: u32) {
        if let Some(setting) = known.iter().find(|setting| setting.name == name) {
            self.keep(setting.form, name.to_owned(), value, line);
        }
    }

    /// Takes a value of a setting under a name that is told.
    pub fn keep(&mut self, form: Form, name: String, value: Option<&str>, line: u32) {
        self.values.retain(|known| known.name != name);
        if self.values.len() >= MAX_FOUND {
            self.is_whole = false;
            return;
        }
        let value = value.filter(|value| form.fits(value)).map(str::to_owned);
        self.values.push(Value { name, value, line });
    }
}

/// Lines with their numbers, each with the lines that continue it: those that begin with a blank. Comments and empty lines are left out, and end nothing.
pub fn folded(text: &str) -> Vec<(u32, String)> {
    let mut found: Vec<(u32, String)> = Vec::new();
    for (at, line) in (1..).zip(text.lines().take(MAX_LINES)) {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        match found.last_mut().filter(|_| line.starts_with([' ', '\t'])) {
            Some((_, whole)) => {
                whole.push(' ');
                whole.push_str(trimmed);
            }
            None => found.push((at, trimmed.to_owned())),
        }
    }
    found
}

/// Lines with their numbers, each with the lines that continue it: those behind a backslash. Comments and empty lines are left out.
pub fn joined(text: &str) -> Vec<(u32, String)> {
    let mut found: Vec<(u32, String)> = Vec::new();
    let mut is_open = false;
    for (at, line) in (1..).zip(text.lines().take(MAX_LINES)) {
        let trimmed = line.trim();
        if trimmed.starts_with('#') || trimmed.is_empty() && !is_open {
            continue;
        }
        let (part, goes_on) = trimmed.strip_suffix('\\').map_or((trimmed, false), |part| (part, true));
        match found.last_mut().filter(|_| is_open) {
            Some((_, whole)) => whole.push_str(part),
            None => found.push((at, part.to_owned())),
        }
        is_open = goes_on;
    }
    found
}

/// How a server was started, as far as its file of knowledge asks.
#[derive(Clone, Debug, Default)]
pub struct Started {
    /// Its command line; empty where the server has written its title over it.
    pub arguments: Vec<String>,
    /// The folder that `MAIL_CONFIG` names in its environment.
    pub mail_config: Option<String>,
}

impl Started {
    /// The value behind an option of one letter: `-C FILE` or `-CFILE`.
    pub fn option(&self, letter: &str) -> Option<&str> {
        let mut arguments = self.arguments.iter().map(String::as_str);
        while let Some(argument) = arguments.next() {
            match argument.strip_prefix(letter) {
                Some("") => return arguments.next(),
                Some(value) => return Some(value),
                None => {}
            }
        }
        None
    }
}
