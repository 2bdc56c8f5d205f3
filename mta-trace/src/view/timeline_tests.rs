//! The timeline of a made-up session, with and without a terminal.

use super::*;
use crate::report::Outcome;
use crate::view::samples;

/// What the analysis says of a finished session.
fn updates(session: &Session) -> Vec<Update> {
    let id: SessionId = session.id.as_str().into();
    let version = session.mta_version.as_deref().unwrap_or_default();
    let mut all = vec![Update::SessionBegan {
        session: id.clone(),
        pid: session.pid,
        client: session.client.clone(),
        server: session.server.clone(),
        mta: format!("{} {version}", session.mta),
    }];
    for command in &session.commands {
        all.push(Update::CommandBegan {
            session: id.clone(),
            index: command.index,
            verb: command.verb,
            line: command.line.clone(),
            start_s: command.start_s,
        });
        for wait in &command.waits {
            let mut begun = wait.clone();
            begun.outcome = Outcome::Unfinished;
            begun.elapsed_s = 0.2;
            all.push(Update::WaitBegan { session: id.clone(), command: Some(command.index), wait: Box::new(begun) });
            all.push(Update::WaitEnded { session: id.clone(), command: Some(command.index), wait: Box::new(wait.clone()) });
        }
        all.push(Update::CommandEnded { session: id.clone(), command: Box::new(command.clone()) });
    }
    all.push(Update::SessionEnded(Box::new(session.clone())));
    all
}

fn shown(updates: &[Update], screen: Screen) -> String {
    let mut out = Vec::new();
    let mut timeline = Timeline::new(&mut out, screen);
    for update in updates {
        timeline.update(update).expect("in a test");
    }
    timeline.finish().expect("in a test");
    String::from_utf8(out).expect("in a test")
}

/// What stands on a terminal in the end.
fn screen_of(text: &str) -> String {
    text.split('\n').map(|line| line.rsplit(ERASE).next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

#[test]
fn without_a_terminal_each_line_is_final() {
    let text = shown(&updates(&samples::slow_session()), Screen::default());
    samples::check("timeline", &text);
}

#[test]
fn on_a_terminal_waits_are_completed_in_place() {
    let text = shown(&updates(&samples::slow_session()), Screen { is_terminal: true, has_colour: false });
    assert!(text.contains("   0.004    dns PTR 1.0.99.10.in-addr.arpa @10.99.0.1 ...\r\u{1b}[2K"), "{text:?}");
    samples::check("timeline", &screen_of(&text));
}

#[test]
fn colours_only_where_they_are_wanted() {
    let all = updates(&samples::slow_session());
    assert!(shown(&all, Screen { is_terminal: true, has_colour: true }).contains("\u{1b}[31m"));
    assert!(!shown(&all, Screen { is_terminal: true, has_colour: false }).contains("\u{1b}[31m"));
    assert!(!shown(&all, Screen::default()).contains('\u{1b}'));
}

#[test]
fn several_sessions_say_whose_line_it_is() {
    let mut other = samples::slow_session();
    other.id = "14812-2".to_owned();
    let (first, second) = (updates(&samples::slow_session()), updates(&other));
    let mixed: Vec<Update> = first.into_iter().zip(second).flat_map(|(a, b)| [a, b]).collect();
    let text = shown(&mixed, Screen { is_terminal: true, has_colour: false });
    let screen = screen_of(&text);
    assert!(screen.contains("14811-1  |  10.014    ident") || screen.contains("14811-1  |  10.019    ident"), "{screen}");
    assert!(screen.contains("14812-2  |  16.201  C HELO localhost"), "{screen}");
    assert!(!screen.contains(" ...\n"), "no unfinished line is left: {screen}");
}

#[test]
fn hostile_text_is_escaped() {
    let text = shown(&updates(&samples::hostile_session()), Screen::default());
    assert!(!text.chars().any(|c| c != '\n' && crate::view::escape::is_hostile(c)), "{text:?}");
}

#[test]
fn regress_eighty_columns_with_several_sessions() {
    let mut other = samples::slow_session();
    other.id = "14812-2".to_owned();
    let (first, second) = (updates(&samples::slow_session()), updates(&other));
    let mixed: Vec<Update> = first.into_iter().zip(second).flat_map(|(a, b)| [a, b]).collect();
    let hostile = updates(&samples::hostile_session());
    for screen in [Screen::default(), Screen { is_terminal: true, has_colour: false }] {
        for text in [shown(&mixed, screen), shown(&hostile, screen)] {
            for line in screen_of(&text).lines() {
                assert!(line.chars().count() <= WIDTH, "{} columns: {line}", line.chars().count());
            }
        }
    }
}

#[test]
fn regress_loss_is_said_at_once() {
    let mut out = Vec::new();
    let mut timeline = Timeline::new(&mut out, Screen::default());
    let loss = |t, ring| crate::event::Record::Loss(crate::event::Loss { t, ring, tables: 1, ..crate::event::Loss::default() });
    for record in [loss(1, 2), loss(2, 2)] {
        timeline.record(&record).expect("in a test");
    }
    let text = String::from_utf8(out).expect("in a test");
    assert_eq!(text, "note: 3 events were LOST so far: times and causes may be wrong or missing\n");
}

#[test]
fn what_the_far_end_waits_for_stands_behind_a_running_wait() {
    let mut wait = samples::silent("TXT", "s1._domainkey.example.com", 0.0);
    let outer = Wait { cause: Cause::Milter, dns: None, target: Some("/run/milter".to_owned()), ..wait.clone() };
    wait.inner.clear();
    let outer = Wait { inner: vec![wait.clone()], ..outer };
    assert_eq!(chain_text(&outer), format!("milter /run/milter > {}", wait_text(&wait)));
}
