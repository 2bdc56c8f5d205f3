//! What every file must hold, and the words of each server.

use super::*;
use proptest::prelude::*;

#[test]
fn names_and_programs_lead_to_one_server() {
    for mta in ALL {
        assert_eq!(known(mta.name()).map(Mta::name), Some(mta.name()));
    }
    let of = |exe: &str| by_program(exe).map(Mta::name);
    assert_eq!(of("/usr/lib/sm.bin/sendmail"), Some("sendmail"));
    assert_eq!(of("/usr/lib/postfix/sbin/smtpd"), Some("postfix"));
    assert_eq!(of("/usr/sbin/smtpd"), Some("opensmtpd"));
    assert_eq!(of("/usr/sbin/exim4"), Some("exim"));
    assert_eq!(of("/usr/sbin/master"), None);
    assert_eq!(of("/usr/bin/python3"), None);
    assert_eq!(by_name("unknown").name(), "unknown");
    assert_eq!(by_name("qmail").name(), "unknown");
}

#[test]
fn versions_in_programs() {
    let of_sendmail = |program: &[u8]| by_name("sendmail").version_in(program);
    assert_eq!(of_sendmail(b"8.8\0x 8.17.1.9\x008.17.1.9\0").as_deref(), Some("8.17.1.9"));
    assert_eq!(of_sendmail(b"8..1\0"), None);
    let of_exim = |program: &[u8]| by_name("exim").version_in(program);
    assert_eq!(of_exim(b"4.0.0\x004.96\0Exim 4.95\0").as_deref(), Some("4.96"));
    assert_eq!(of_exim(b"\x004.94.2\x004.94.2\0").as_deref(), Some("4.94.2"));
    let of_postfix = |program: &[u8]| by_name("postfix").version_in(program);
    assert_eq!(of_postfix(b"x\0mail_version=3.7.11\0").as_deref(), Some("3.7.11"));
    assert_eq!(of_postfix(b"mail_version\0"), None);
    // Which one it is nobody knows.
    assert_eq!(of_exim(b"\x004.96\x004.98\0"), None);
}

#[test]
fn only_sentences_about_new_connections_are_taken_from_a_title() {
    let state = |title| by_name("sendmail").daemon_state_in(title);
    let rejecting = "sendmail: rejecting connections on daemon MTA: load average: 12\0\0\0";
    assert_eq!(state(rejecting), Some("rejecting connections on daemon MTA: load average: 12"));
    assert_eq!(state("sendmail: accepting connections\0"), Some("accepting connections"));
    assert_eq!(state("sendmail: 6AP x.example.com [192.0.2.1]: VRFY secret\0"), None);
    assert_eq!(state("/usr/sbin/sendmail\0-bd\0"), None);
}

#[test]
fn postfix_names_its_services_by_their_sockets() {
    let of = |mta: &str, path: &str| by_name(mta).service_at(path).map(|Service { cause, name }| (cause, name));
    assert_eq!(of("postfix", "/var/spool/postfix/private/anvil"), Some((Cause::Mta, "anvil".to_owned())));
    assert_eq!(of("postfix", "public/cleanup"), Some((Cause::Mta, "cleanup".to_owned())));
    assert_eq!(of("postfix", "private/proxymap"), Some((Cause::Map, "proxymap".to_owned())));
    for (mta, path) in [("postfix", "/run/cleanup"), ("postfix", "private/mypolicy"), ("sendmail", "private/anvil"), ("postfix", "cleanup")] {
        assert_eq!(of(mta, path), None, "{mta} {path}");
    }
}

#[test]
fn queue_ids() {
    assert_eq!(queue_id("250 2.0.0 6AO4hfnA018762 Message accepted for delivery").as_deref(), Some("6AO4hfnA018762"));
    assert_eq!(queue_id("250 2.0.0 Ok: queued as 4Fg1").as_deref(), Some("4Fg1"));
    assert_eq!(queue_id("250 OK id=1xVrvD-0007gf-0y").as_deref(), Some("1xVrvD-0007gf-0y"));
    assert_eq!(queue_id("451 4.3.0 no"), None);
    assert_eq!(queue_id("250 Message accepted"), None);
}

proptest! {
    #[test]
    fn words_of_a_server_never_panic(text in "\\PC*") {
        let _ = queue_id(&text);
        for mta in ALL {
            let _ = (mta.daemon_state_in(&text), mta.command_in(&text), mta.service_at(&text), mta.refusal_in(&text), mta.version_in(text.as_bytes()));
        }
    }
}
