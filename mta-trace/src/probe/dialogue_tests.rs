//! The dialogue against made-up servers.

use super::*;
use crate::probe::plan::Password;
use proptest::prelude::*;

fn plan() -> Plan {
    Plan {
        helo: "client.lab.test".into(),
        from: Some("a@example.com".parse().expect("an address")),
        rcpts: ["b@example.net", "c@example.net"].map(|text| text.parse().expect("an address")).to_vec(),
        message: Some(b"x\r\n.\r\n".to_vec()),
        ..Plan::default()
    }
}

fn with_login() -> Plan {
    let password = Password::from_file(b"geheim").expect("a password");
    Plan { login: Some(Login { user: "user".into(), password }), ..plan() }
}

/// `250` or `250 first/second`.
fn reply(text: &str) -> Reply {
    let (code, lines) = text.split_once(' ').unwrap_or((text, ""));
    Reply { code: code.parse().expect("a code"), lines: lines.split('/').map(str::to_owned).collect() }
}

/// What was said, with what was answered to it one after another; `|` between the replies to a batch.
fn play(plan: &Plan, replies: &[&str]) -> (Vec<String>, Option<String>, Vec<String>) {
    let mut dialogue = Dialogue::new(plan);
    let (mut said, mut act, mut replies) = (Vec::new(), Dialogue::BEGIN, replies.iter());
    loop {
        match act {
            Act::Hear => {}
            Act::Say(lines) => said.push(lines.into_iter().map(|line| line.text).collect::<Vec<_>>().join("|")),
            Act::StartTls => {
                said.push("(tls)".into());
                act = dialogue.secured();
                continue;
            }
            Act::Message { is_empty } => said.push(if is_empty { "." } else { "(message)" }.into()),
            Act::Close => break,
        }
        let heard: Vec<Reply> = replies.next().expect("it ends before").split('|').map(reply).collect();
        act = dialogue.heard(&heard);
    }
    assert_eq!(replies.next(), None, "it ended early: {said:?}");
    let (stopped, notes) = dialogue.outcome();
    (said, stopped, notes)
}

const EHLO: &str = "EHLO client.lab.test";
const MAIL: &str = "MAIL FROM:<a@example.com>";
const RCPTS: [&str; 2] = ["RCPT TO:<b@example.net>", "RCPT TO:<c@example.net>"];

#[test]
fn a_whole_session() {
    let (said, stopped, notes) = play(&plan(), &["220", "250 mx/SIZE", "250", "250", "250", "354", "250", "221"]);
    assert_eq!(said, [EHLO, MAIL, RCPTS[0], RCPTS[1], "DATA", "(message)", "QUIT"]);
    assert_eq!((stopped, notes), (None, vec![]));
    let (said, stopped, _) = play(&Plan { message: None, ..plan() }, &["220", "250", "250", "250", "250", "250", "221"]);
    assert_eq!((said.last().map(String::as_str), said[said.len() - 2].as_str(), stopped), (Some("QUIT"), "RSET", None));
}

#[test]
fn a_refusal_at_each_step_ends_in_quit() {
    let good = ["220", "250 mx", "250", "250", "250", "354", "250"];
    for code in ["450", "550"] {
        for (at, reason) in [(0, "the greeting"), (2, "MAIL"), (5, "DATA"), (6, "the message")] {
            let replies: Vec<&str> = good[..at].iter().copied().chain([code, "221"]).collect();
            let (said, stopped, _) = play(&plan(), &replies);
            assert_eq!(stopped, Some(format!("{reason} was refused with {code}")), "{at}");
            assert_eq!(said.last().map(String::as_str), Some("QUIT"));
        }
        let (said, stopped, _) = play(&plan(), &["220", "250", "250", code, code, "221"]);
        assert_eq!((said.len(), stopped.as_deref()), (5, Some("no recipient was accepted")));
        let (said, stopped, notes) = play(&plan(), &["220", "250", "250", code, "250", "354", "250", "221"]);
        assert_eq!((said.len(), stopped, notes), (7, None, vec!["1 of 2 recipients were accepted".to_owned()]));
    }
    let (_, stopped, _) = play(&plan(), &["220", "450", "221"]);
    assert_eq!(stopped.as_deref(), Some("EHLO was refused with 450"));
}

#[test]
fn who_does_not_know_ehlo_is_asked_by_helo_and_offers_nothing() {
    let plan = Plan { pipeline: true, ..plan() };
    let (said, stopped, notes) = play(&plan, &["220", "502", "250", "250", "250", "250", "354", "250", "221"]);
    assert_eq!((said[1].as_str(), said[2].as_str(), stopped), ("HELO client.lab.test", MAIL, None));
    assert_eq!(notes, ["the server does not offer PIPELINING: commands were sent one by one"]);
    assert_eq!(play(&plan, &["220", "500", "550", "221"]).1.as_deref(), Some("HELO was refused with 550"));
}

#[test]
fn a_421_ends_it_without_quit() {
    for replies in [&["421"][..], &["220", "421"], &["220", "250", "421"], &["220", "250", "250", "250", "250", "354", "421"]] {
        let (said, stopped, _) = play(&plan(), replies);
        assert_eq!((said.len(), stopped.as_deref()), (replies.len() - 1, Some("the server closed the session with 421")));
    }
}

#[test]
fn a_batch_of_which_one_recipient_is_refused() {
    let plan = Plan { pipeline: true, ..plan() };
    let batch = format!("{MAIL}|{}|{}|DATA", RCPTS[0], RCPTS[1]);
    let (said, stopped, notes) = play(&plan, &["220", "250 mx/pipelining", "250|550|250|354", "250", "221"]);
    assert_eq!(said, [EHLO, &batch, "(message)", "QUIT"]);
    assert_eq!((stopped, notes), (None, vec!["1 of 2 recipients were accepted".to_owned()]));
    // Nobody is left, and the server wants a message all the same (RFC 2920, 3.1).
    let (said, stopped, _) = play(&plan, &["220", "250 mx/PIPELINING", "250|550|550|354", "554", "221"]);
    assert_eq!((said[2].as_str(), stopped.as_deref()), (".", Some("no recipient was accepted")));
    let (said, stopped, _) = play(&plan, &["220", "250 mx/PIPELINING", "550|503|503|503", "221"]);
    assert_eq!((said.len(), stopped.as_deref()), (3, Some("MAIL was refused")));
    let (_, stopped, _) = play(&plan, &["220", "250 mx/PIPELINING", "250|250|250|451", "221"]);
    assert_eq!(stopped.as_deref(), Some("DATA was refused with 451"));
    let (_, stopped, _) = play(&plan, &["220", "250 mx/PIPELINING", "250|421"]);
    assert_eq!(stopped.as_deref(), Some("the server closed the session with 421"));
    // Without a message the batch ends behind RCPT.
    let (said, _, _) = play(&Plan { message: None, ..plan }, &["220", "250 mx/PIPELINING", "250|250|250", "250", "221"]);
    assert_eq!(said[1..], [format!("{MAIL}|{}|{}", RCPTS[0], RCPTS[1]), "RSET".into(), "QUIT".into()]);
}

#[test]
fn what_was_offered_before_tls_is_forgotten() {
    let plan = Plan { starttls: true, pipeline: true, ..with_login() };
    let replies = ["220", "250 mx/STARTTLS/AUTH PLAIN/PIPELINING", "220", "250 mx", "221"];
    let (said, stopped, _) = play(&plan, &replies);
    assert_eq!(said, [EHLO, "STARTTLS", "(tls)", EHLO, "QUIT"]);
    assert_eq!(stopped.as_deref(), Some("the server offers no AUTH, neither PLAIN nor LOGIN"));
}

#[test]
fn without_starttls_nothing_is_sent() {
    let plan = Plan { starttls: true, ..with_login() };
    let (said, stopped, _) = play(&plan, &["220", "250 mx/AUTH PLAIN", "221"]);
    assert_eq!((said.len(), stopped.is_some_and(|it| it.contains("does not offer STARTTLS"))), (2, true));
    let (said, stopped, _) = play(&plan, &["220", "250 mx/STARTTLS", "454", "221"]);
    assert_eq!((said.len(), stopped.as_deref()), (3, Some("STARTTLS was refused with 454")));
    // An EHLO that fails inside TLS is not asked again by HELO.
    let (_, stopped, _) = play(&plan, &["220", "250 mx/STARTTLS", "220", "550", "221"]);
    assert_eq!(stopped.as_deref(), Some("EHLO was refused with 550"));
}

#[test]
fn plain_and_login() {
    let (said, _, _) = play(&with_login(), &["220", "250 mx/AUTH LOGIN PLAIN", "235", "250", "250", "250", "354", "250", "221"]);
    assert_eq!(said[1], "AUTH PLAIN AHVzZXIAZ2VoZWlt");
    let (said, _, _) = play(&with_login(), &["220", "250 mx/AUTH=login", "334", "334", "235", "250", "250", "250", "354", "250", "221"]);
    assert_eq!(said[1..4], ["AUTH LOGIN", "dXNlcg==", "Z2VoZWlt"]);
    for replies in [&["535"][..], &["334", "535"], &["334", "334", "535"], &["235"], &["334", "334", "334", "501"]] {
        let all: Vec<&str> = ["220", "250 mx/AUTH LOGIN"].into_iter().chain(replies.iter().copied()).chain(["221"]).collect();
        let (said, stopped, _) = play(&with_login(), &all);
        assert!(stopped.is_some_and(|it| it.starts_with("AUTH was refused")), "{replies:?}");
        assert!(replies.len() < 4 || said.contains(&"*".to_owned()), "an exchange without end is cancelled");
    }
    let (said, _, _) = play(&with_login(), &["220", "250 mx/AUTH PLAIN", "334", "501", "221"]);
    assert_eq!(said[2..], ["*", "QUIT"]);
    let (_, stopped, _) = play(&with_login(), &["220", "250 mx/AUTH GSSAPI NTLM", "221"]);
    assert_eq!(stopped.as_deref(), Some("the server offers only AUTH GSSAPI NTLM, neither PLAIN nor LOGIN"));
}

#[test]
fn what_is_shown_of_a_line_holds_no_secret() {
    let plan = with_login();
    for offered in ["PLAIN", "LOGIN"] {
        let mut dialogue = Dialogue::new(&plan);
        let mut act = dialogue.heard(&[reply("220")]);
        for answer in [&format!("250 mx/AUTH {offered}"), "334", "334"] {
            if let Act::Say(lines) = &act {
                let shown = format!("{lines:?}");
                assert!(!["AHVz", "dXNl", "Z2Vo"].iter().any(|secret| shown.contains(secret)), "{shown}");
            }
            act = dialogue.heard(&[reply(answer)]);
        }
        assert!(!format!("{act:?}{dialogue:?}").contains("Z2Vo") && !format!("{dialogue:?}").contains("geheim"));
    }
}

#[test]
fn it_quits_where_it_is_told_to() {
    let all = ["220", "250 mx/STARTTLS/PIPELINING", "220", "250 mx/AUTH PLAIN/PIPELINING", "235", "250", "250", "250"];
    for (stage, replies) in [("connect", 1), ("first-helo", 2), ("tls", 3), ("helo", 4), ("auth", 5), ("mail", 6), ("rcpt", 8)] {
        for pipeline in [false, stage == "mail"] {
            let plan = Plan { starttls: true, pipeline, quit_after: Some(stage.parse().expect("a stage")), ..with_login() };
            let replies: Vec<&str> = all[..replies].iter().copied().chain(["221"]).collect();
            let (said, stopped, _) = play(&plan, &replies);
            assert_eq!((said.last().map(String::as_str), stopped), (Some("QUIT"), None), "{stage}");
        }
    }
    let plan = Plan { quit_after: Some(Stage::Rcpt), pipeline: true, ..plan() };
    let (said, _, _) = play(&plan, &["220", "250 mx/PIPELINING", "250|250|550", "221"]);
    assert_eq!(said[1..], [format!("{MAIL}|{}|{}", RCPTS[0], RCPTS[1]), "QUIT".into()]);
    // Without TLS the first EHLO is the last.
    let plan = Plan { quit_after: Some(Stage::Helo), ..plan };
    assert_eq!(play(&plan, &["220", "250", "221"]).0, [EHLO, "QUIT"]);
}

proptest! {
    #[test]
    fn whatever_a_server_answers_the_dialogue_ends(
        codes in proptest::collection::vec(prop_oneof![Just(220_u16), Just(250), Just(334), Just(354), Just(235), 200_u16..600], 60),
        starttls: bool, pipeline: bool, has_login: bool, has_message: bool,
    ) {
        let mut plan = if has_login { with_login() } else { plan() };
        (plan.starttls, plan.pipeline) = (starttls, pipeline);
        if !has_message {
            plan.message = None;
        }
        let mut dialogue = Dialogue::new(&plan);
        let (mut act, mut is_secure, mut acts) = (Dialogue::BEGIN, false, 0);
        let mut codes = codes.into_iter();
        while act != Act::Close {
            acts += 1;
            prop_assert!(acts < 30);
            let wanted = match &act {
                Act::Say(lines) => {
                    let has_secret = lines.iter().any(|line| line.verb == Verb::Auth);
                    prop_assert!(!starttls || is_secure || !has_secret, "no secret before TLS");
                    prop_assert!(lines.iter().all(|line| !line.text.contains(['\r', '\n'])));
                    lines.len()
                }
                Act::StartTls => {
                    is_secure = true;
                    act = dialogue.secured();
                    continue;
                }
                Act::Hear | Act::Message { .. } | Act::Close => 1,
            };
            let lines = ["mx", "STARTTLS", "PIPELINING", "AUTH LOGIN"].map(str::to_owned).to_vec();
            let replies: Vec<Reply> = codes.by_ref().take(wanted).map(|code| Reply { code, lines: lines.clone() }).collect();
            act = dialogue.heard(&replies);
        }
    }
}
