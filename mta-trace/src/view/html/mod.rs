//! The report as one HTML file: no network, no font and no library from outside, readable without its script.
//!
//! In: a [`Report`], and of the system calls what [`Calls`] has kept. Out: the page, part after part, each made when it is written. Invariant: every text
//! goes through [`harmless`]; nothing of the report stands in a style, a script or a link's target; the size is bounded. Not here: how anything is found.

pub mod calls;

mod dialogue;
mod distribution;
mod evidence;
mod findings;
mod harmless;
mod head;
mod list;
mod number;
mod probe;
mod session;
mod time;
mod timeline;

use crate::report::{Command, Report, Session};
use crate::view::accepted::Accepted;
use askama::Template;
use calls::{Calls, SESSIONS};
use std::io::{Result, Write};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Commands of one session that are shown, and of all of them.
const COMMANDS: usize = 500;
const ON_PAGE: usize = 3000;

/// A session that is shown whole.
struct Shown<'a> {
    session: &'a Session,
    /// The begin of all ids of its part of the page.
    id: String,
    /// Of its headings.
    level: u8,
    /// It is the first on the page: how to read its parts is said once.
    is_explained: bool,
    /// In their order; in a long session the slowest.
    commands: Vec<&'a Command>,
    /// What is said where some are not shown.
    note: Option<String>,
}

impl<'a> Shown<'a> {
    fn new(session: &'a Session, index: usize, level: u8, is_explained: bool) -> Self {
        let mut commands: Vec<&Command> = session.commands.iter().collect();
        let all = commands.len();
        let mut note = None;
        if all > COMMANDS {
            commands.sort_by(|a, b| b.server_s().total_cmp(&a.server_s()));
            let others_s: f64 = commands.drain(COMMANDS..).map(Command::server_s).sum();
            commands.sort_by_key(|command| command.index);
            note =
                Some(format!("Of {all} commands the {COMMANDS} slowest are shown; the others took {others_s:.3} s of the server's time together."));
        }
        Self { session, id: session_id(index), level, is_explained, commands, note }
    }

    fn command_id(&self, index: usize) -> String {
        format!("{}c{index}", self.id)
    }

    fn between_id(&self, at: usize) -> String {
        format!("{}b{at}", self.id)
    }
}

/// `s0`, by its place in the report: what the network names stands in no id.
fn session_id(index: usize) -> String {
    format!("s{index}")
}

#[derive(Template)]
#[template(path = "foot.html")]
struct Foot {
    script: &'static str,
}

/// Writes the page.
pub fn write(mut out: &mut dyn Write, report: &Report, accepted: &Accepted, calls: &Calls) -> Result<()> {
    // What the templates write to has a size.
    let out = &mut out;
    match report.sessions.as_slice() {
        [session] if report.left_out.is_none() => one(out, report, session, accepted, calls)?,
        _ => many(out, report, accepted, calls)?,
    }
    Foot { script: SCRIPT }.write_into(out)?;
    writeln!(out)
}

fn one(out: &mut impl Write, report: &Report, session: &Session, accepted: &Accepted, calls: &Calls) -> Result<()> {
    let shown = Shown::new(session, 0, 2, true);
    let mut links = vec![("s0-timeline", "Timeline"), ("s0-findings", "Findings"), ("s0-dialogue", "Dialogue"), ("s0-time", "Time")];
    let section = calls::Section::new(&shown, calls);
    links.extend(section.is_some().then_some(("s0-calls", "System calls")));
    let links = links.into_iter().map(|(id, name)| (id.to_owned(), name)).collect();
    head::Head::new(report, accepted, Vec::new(), links).write_into(out)?;
    let mut said = findings::Said::default();
    of_daemon(out, report, &mut said)?;
    whole(out, &shown, false, &mut said, calls)?;
    report.probe.iter().try_for_each(|it| probe::Section::new("all", 2, it).write_into(out))
}

fn many(out: &mut impl Write, report: &Report, accepted: &Accepted, calls: &Calls) -> Result<()> {
    let order = slowest_first(&report.sessions);
    let shown = count_shown(&report.sessions, &order);
    let has_common = !report.findings.is_empty() || report.daemon.as_ref().is_some_and(|daemon| !daemon.findings.is_empty());
    let mut links = Vec::new();
    links.extend(has_common.then_some(("all-findings", "Findings")));
    if !report.sessions.is_empty() {
        links.extend([("all-time", "Time"), ("all-distribution", "Commands"), ("all-sessions", "Sessions"), ("all-whole", "In detail")]);
    }
    let links = links.into_iter().map(|(id, name)| (id.to_owned(), name)).collect();
    let left_out = report.left_out.as_ref().map(|it| {
        let (all, kept) = (report.session_count(), report.sessions.len());
        format!(
            "Of {all} sessions the worst {kept} are listed; of the other {} only the sums are here; report --format json of a log has all.",
            it.sessions
        )
    });
    head::Head::new(report, accepted, left_out.into_iter().collect(), links).write_into(out)?;
    let mut said = findings::Said::default();
    of_daemon(out, report, &mut said)?;
    if !report.sessions.is_empty() {
        time::Time::of_report(report).write_into(out)?;
        distribution::Distribution::new(report).write_into(out)?;
        list::List::new(report, &order, shown).write_into(out)?;
        writeln!(out, "<section aria-labelledby=\"all-whole\" class=\"part\"><h2 id=\"all-whole\">The slowest in detail</h2>")?;
        for (at, index) in order.into_iter().take(shown).enumerate() {
            let Some(session) = report.sessions.get(index) else { continue };
            whole(out, &Shown::new(session, index, 4, at == 0), true, &mut said, calls)?;
            writeln!(out, "</details>")?;
        }
        writeln!(out, "</section>")?;
    }
    report.probe.iter().try_for_each(|it| probe::Section::new("all", 2, it).write_into(out))
}

/// What belongs to no single session.
fn of_daemon(out: &mut impl Write, report: &Report, said: &mut findings::Said) -> Result<()> {
    let of_daemon = report.daemon.as_ref().map(|daemon| daemon.findings.as_slice()).unwrap_or_default();
    let common = findings::Findings::common(of_daemon, &report.findings, said);
    if common.is_empty() { Ok(()) } else { common.write_into(out) }
}

/// All of a session; of a fold the end is left to the caller.
fn whole(out: &mut impl Write, shown: &Shown, is_fold: bool, said: &mut findings::Said, calls: &Calls) -> Result<()> {
    session::Head::new(shown, is_fold).write_into(out)?;
    timeline::Timeline::new(shown).write_into(out)?;
    findings::Findings::of_session(shown, said).write_into(out)?;
    dialogue::Dialogue::new(shown).write_into(out)?;
    time::Time::of_session(shown).write_into(out)?;
    if let Some(it) = &shown.session.probe {
        probe::Section::new(&shown.id, shown.level, it).write_into(out)?;
    }
    calls::Section::new(shown, calls).map_or(Ok(()), |section| section.write_into(out))
}

/// By their time on the server's side.
fn slowest_first(sessions: &[Session]) -> Vec<usize> {
    let mut times: Vec<(usize, f64)> = sessions.iter().map(Session::server_s).enumerate().collect();
    times.sort_by(|a, b| b.1.total_cmp(&a.1));
    times.into_iter().map(|(index, _)| index).collect()
}

/// How many of them, in this order, are shown whole.
fn count_shown(sessions: &[Session], order: &[usize]) -> usize {
    let mut commands = 0;
    let fits = |index: &&usize| {
        commands += sessions.get(**index).map_or(0, |session| session.commands.len().min(COMMANDS));
        commands <= ON_PAGE
    };
    order.iter().take(SESSIONS).take_while(fits).count()
}

#[cfg(test)]
mod tests;
