//! How the mail server and its resolver are set up, as far as advice names it: present values beside what to change.
//!
//! In: what the trace's beginning tells of configuration files. Out: for each piece of advice the values that its settings have. A default is named only
//! where the whole file was understood and does not set it. Invariant: nothing that the server's own list does not allow, whoever has written the log.

use super::resolver::Resolver;
use crate::event::{SeedFile, SeedSetting, SeedSettings};
use crate::mta::{Mta, Topic};
use crate::report::Setting;

/// Files of a server, and what is kept of each.
const MAX_FILES: usize = 8;
const MAX_SETTINGS: usize = 64;

/// All that is known.
#[derive(Debug, Default)]
pub struct Settings {
    files: Vec<SeedSettings>,
    resolver: Option<Resolver>,
}

impl Settings {
    /// Takes what a configuration file says.
    pub fn see(&mut self, seen: &SeedSettings) {
        if self.files.len() < MAX_FILES {
            let settings = seen.settings.iter().take(MAX_SETTINGS).cloned().collect();
            self.files.push(SeedSettings { settings, ..seen.clone() });
        }
    }

    /// Takes a file that is kept in whole.
    pub fn see_file(&mut self, file: &SeedFile) {
        if file.path == super::resolver::PATH {
            self.resolver = Some(Resolver::parse(&file.text));
        }
    }

    /// The suffix of the resolver's search list with which the name that was asked was made of another one.
    pub fn search_suffix(&self, of: &str, asked: &str) -> Option<&str> {
        self.resolver.as_ref()?.suffix(of, asked)
    }

    /// The present values of what advice about this topic names, and a sentence for each.
    fn present(&self, mta: &dyn Mta, topic: Topic) -> Vec<(Setting, String)> {
        let mut found = Vec::new();
        for known in mta.settings().iter().filter(|known| known.topics.contains(&topic)) {
            let set: Vec<(&SeedSettings, &SeedSetting)> = self.files.iter().flat_map(|file| file.settings.iter().map(move |it| (file, it))).collect();
            let of_it = set.iter().filter(|(_, it)| it.name.rsplit('/').next() == Some(known.name));
            let told = of_it.clone().filter_map(|(file, it)| Some((*file, *it, it.value.as_deref().filter(|value| known.form.fits(value))?)));
            found.extend(told.map(|(file, it, value)| set_in(file, it, value)));
            let is_set = of_it.clone().any(|(_, it)| it.name == known.name);
            let whole = self.files.iter().find(|file| file.whole);
            if let (Some(default), Some(file), false) = (known.default, whole, is_set) {
                found.push(default_of(known.name, default, file));
            }
        }
        found
    }
}

fn set_in(file: &SeedSettings, it: &SeedSetting, value: &str) -> (Setting, String) {
    let newer = if file.newer { ", changed after the server had started" } else { "" };
    let text = format!("{} ({}, line {}{newer})", assigned(&it.name, value), file.file, it.line);
    (Setting { name: it.name.clone(), value: value.to_owned(), file: file.file.clone(), line: Some(it.line) }, text)
}

fn default_of(name: &str, value: &str, file: &SeedSettings) -> (Setting, String) {
    let text = format!("{} (the default, not set in {})", assigned(name, value), file.file);
    (Setting { name: name.to_owned(), value: value.to_owned(), file: file.file.clone(), line: None }, text)
}

fn assigned(name: &str, value: &str) -> String {
    if name.ends_with('=') { format!("{name}{value}") } else { format!("{name}={value}") }
}

/// What to do, with the values that what it names has now.
#[derive(Debug, Default)]
pub struct Remedy {
    text: String,
    present: Vec<String>,
    settings: Vec<Setting>,
    debug: Option<&'static str>,
}

impl Remedy {
    /// A mail server's advice.
    pub fn of(mta: &dyn Mta, settings: &Settings, topic: Topic) -> Self {
        let mut present = settings.present(mta, topic);
        if topic == Topic::Resolver {
            present.extend(settings.resolver.iter().flat_map(Resolver::present));
        }
        let (settings, present) = present.into_iter().unzip();
        Self { text: mta.advice(topic).to_owned(), present, settings, debug: mta.debug(topic) }
    }

    /// With more words.
    pub fn then(mut self, more: &str) -> Self {
        self.text.push_str(more);
        self
    }

    /// With another one behind it.
    pub fn and(mut self, other: Self) -> Self {
        self.text = format!("{}; {}", self.text, other.text);
        self.present.extend(other.present);
        self.settings.extend(other.settings);
        self.debug = self.debug.or(other.debug);
        self
    }

    /// Behind the one of what the far end of the wait waits for.
    pub fn behind(self, whose: &str, far: Self) -> Self {
        let (far_text, settings) = far.told();
        let text = format!("{whose}{far_text}. Of the wait for it: {}", self.text);
        Self { text, settings: settings.into_iter().chain(self.settings).collect(), ..self }
    }

    /// How the mail server itself shows it, of this client and this domain, where that is needed and is one.
    pub fn debug(&self, client: &str, domain: Option<&str>) -> Option<String> {
        let is_domain = |name: &&str| name.len() < 256 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
        let domain = domain.filter(is_domain);
        let debug = self.debug.filter(|debug| domain.is_some() || !debug.contains("DOMAIN"))?;
        Some(debug.replace("CLIENT", client).replace("DOMAIN", domain.unwrap_or_default()))
    }

    /// As it is reported.
    pub fn told(self) -> (String, Vec<Setting>) {
        let Self { text, present, settings, debug: _ } = self;
        let now = if present.is_empty() { String::new() } else { format!("; at present {}", present.join(", ")) };
        (format!("{text}{now}"), settings)
    }
}

impl From<String> for Remedy {
    fn from(text: String) -> Self {
        Self { text, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mta;

    fn seen(file: &str, whole: bool, settings: &[(&str, Option<&str>)]) -> SeedSettings {
        let settings =
            (1..).zip(settings).map(|(line, (name, value))| SeedSetting { name: (*name).to_owned(), value: value.map(str::to_owned), line });
        SeedSettings { file: file.to_owned(), whole, newer: false, settings: settings.collect() }
    }

    fn told(mta: &str, files: &[SeedSettings], topic: Topic) -> String {
        let mut settings = Settings::default();
        for file in files {
            settings.see(file);
        }
        let (text, _) = Remedy::of(mta::by_name(mta), &settings, topic).told();
        text.rsplit_once("; at present ").map_or(String::new(), |(_, present)| present.to_owned())
    }

    #[test]
    fn what_is_set_is_told_with_its_line() {
        let file = seen("/etc/mail/sendmail.cf", true, &[("DelayLA", Some("8")), ("Timeout.ident", Some("30s"))]);
        assert_eq!(told("sendmail", &[file], Topic::Ident), "Timeout.ident=30s (/etc/mail/sendmail.cf, line 2)");
    }

    #[test]
    fn a_default_is_told_only_of_a_file_that_was_understood() {
        let file = |whole, value| seen("/m.cf", whole, value);
        assert_eq!(told("sendmail", &[file(true, &[])], Topic::Ident), "Timeout.ident=5s (the default, not set in /m.cf)");
        assert_eq!(told("sendmail", &[file(false, &[])], Topic::Ident), "");
        assert_eq!(told("sendmail", &[file(true, &[("Timeout.ident", None)])], Topic::Ident), "");
        assert_eq!(told("sendmail", &[], Topic::Ident), "");
    }

    #[test]
    fn a_service_of_postfix_may_have_its_own() {
        let main = seen("/etc/postfix/main.cf", true, &[("smtpd_policy_service_timeout", Some("10s"))]);
        let master = seen("/etc/postfix/master.cf", false, &[("smtp/inet/smtpd_policy_service_timeout", Some("3s"))]);
        let policy = Topic::Service(crate::report::Cause::Policy);
        assert_eq!(
            told("postfix", &[main, master], policy),
            "smtpd_policy_service_timeout=10s (/etc/postfix/main.cf, line 1), smtp/inet/smtpd_policy_service_timeout=3s (/etc/postfix/master.cf, line 1)"
        );
    }

    #[test]
    fn a_log_of_a_stranger_tells_nothing_else() {
        let file = seen("/m.cf", true, &[("Timeout.ident", Some("hunter2")), ("AuthInfo", Some("5s")), ("Timeout.ident", Some("\u{1b}[2J"))]);
        assert_eq!(told("sendmail", &[file], Topic::Ident), "");
    }
}
