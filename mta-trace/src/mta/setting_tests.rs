//! What is read of configuration files, and that nothing else of them is.

use super::*;
use proptest::prelude::*;

/// Name, value, line.
type Told = (String, Option<String>, u32);
/// What it shows, server, command line, environment, and the files.
type Start<'a> = (&'a str, &'a str, &'a [&'a str], Option<&'a str>, &'a [&'a [&'a str]]);

fn read(mta: &str, file: &str, text: &str) -> Vec<Told> {
    let found = by_name(mta).settings_in(file, text);
    found.values.into_iter().map(|it| (it.name, it.value, it.line)).collect()
}

fn is_whole(mta: &str, text: &str) -> bool {
    by_name(mta).settings_in("/main.cf", text).is_whole
}

fn set(name: &str, value: &str, line: u32) -> Told {
    (name.to_owned(), Some(value.to_owned()), line)
}

fn hidden(name: &str, line: u32) -> Told {
    (name.to_owned(), None, line)
}

#[test]
fn of_sendmail() {
    let cases: &[(&str, &str, &[Told])] = &[
        ("plain", "O Timeout.ident=5s\n", &[set("Timeout.ident", "5s", 1)]),
        ("any case and blanks", "\n#O Timeout.ident=1s\nO timeout.IDENT = 2m \n", &[set("Timeout.ident", "2m", 3)]),
        ("the last one", "O DelayLA=8\nO DelayLA=9\n", &[set("DelayLA", "9", 2)]),
        ("continued", "O DaemonPortOptions=Name=MTA,\n\tPort=smtp, L=50\n", &[set("DaemonPortOptions Listen=", "50", 1)]),
        ("queue without a length", "O DaemonPortOptions=Name=MTA, Addr=127.0.0.1\n", &[]),
        ("an abbreviation", "O MaxDaemon=12\n", &[hidden("MaxDaemonChildren", 1)]),
        ("a milter", "Xspam, S=inet:1@127.0.0.1, F=T, T=C:10m;S:10s;R:20s;E:5m\n", &[set("INPUT_MAIL_FILTER T=", "C:10m;S:10s;R:20s;E:5m", 1)]),
        (
            "three milters",
            "Xa-1, S=local:/a, T=R:20s\nXb, S=local:/b\nX c/d, T=R:1s\nXe, T=E:1m",
            &[set("a-1/INPUT_MAIL_FILTER T=", "R:20s", 1), set("e/INPUT_MAIL_FILTER T=", "E:1m", 4)],
        ),
        (
            "a pause",
            "Sgreet_pause\nR$*\t\t$: <$1><?>\nR<?> <$*>\t\t$# 3000\nR<$+> <$*>\t\t$# $1\nSother\nR<?> <$*>\t\t$# 9\n",
            &[set("greet_pause", "3000", 3)],
        ),
        ("a pause without a default", "Sgreet_pause\nR<?> <$*>\t\t$@\n", &[hidden("greet_pause", 2)]),
        ("others", "O Timeout.idents=5s\nO RunAsUser=mail\nDelayLA=3\nKaccess hash /etc/mail/access\n", &[]),
    ];
    for &(case, text, expected) in cases {
        assert_eq!(read("sendmail", "/etc/mail/sendmail.cf", text), expected, "{case}");
    }
}

#[test]
fn of_postfix() {
    let cases: &[(&str, &str, &[Told])] = &[
        ("plain", "smtpd_error_sleep_time = 0\n", &[set("smtpd_error_sleep_time", "0", 1)]),
        ("the last one", "smtpd_error_sleep_time = 1s\nx = y\nsmtpd_error_sleep_time=2s\n", &[set("smtpd_error_sleep_time", "2s", 3)]),
        ("continued", "smtpd_error_sleep_time =\n\n# here\n   3s\nother = 1\n", &[set("smtpd_error_sleep_time", "3s", 1)]),
        ("an expression", "postscreen_greet_wait = ${stress?{2}:{6}}s\n", &[hidden("postscreen_greet_wait", 1)]),
        (
            "a word",
            "milter_default_action = Accept\nsmtpd_peername_lookup = maybe\n",
            &[set("milter_default_action", "Accept", 1), hidden("smtpd_peername_lookup", 2)],
        ),
        ("a continued value is no setting", "mynetworks = 10.0.0.0/8\n  smtpd_error_sleep_time = 9s\n", &[]),
    ];
    for &(case, text, expected) in cases {
        assert_eq!(read("postfix", "/etc/postfix/main.cf", text), expected, "{case}");
    }
}

#[test]
fn of_the_services_of_postfix() {
    let text = "smtp inet n - y - 20 smtpd\n  -o smtpd_error_sleep_time=0\n  -o smtpd_sasl_password=hunter2\n\
                127.0.0.1:10025 inet n - y - - smtpd -o smtpd_error_sleep_time=$x\npickup unix n - y 60 1 pickup -o smtpd_error_sleep_time=5s\n";
    let expected = [set("smtp/inet/smtpd_error_sleep_time", "0", 1), hidden("127.0.0.1:10025/inet/smtpd_error_sleep_time", 4)];
    assert_eq!(read("postfix", "/etc/postfix/master.cf", text), expected);
    assert!(!by_name("postfix").settings_in("/etc/postfix/master.cf", text).is_whole);
}

#[test]
fn of_exim() {
    let cases: &[(&str, &str, &[Told])] = &[
        ("plain", "rfc1413_query_timeout = 5s\n", &[set("rfc1413_query_timeout", "5s", 1)]),
        ("of the main part", "begin acl\nrfc1413_query_timeout = 5s\n", &[]),
        ("continued", "dns_retry = \\\n  # why\n  3\n", &[set("dns_retry", "3", 1)]),
        ("conditional", ".ifdef X\ndns_retry = 3\n.endif\nsmtp_accept_max = 9\n", &[hidden("dns_retry", 2), set("smtp_accept_max", "9", 4)]),
        ("a macro", "dns_retry = RETRIES\n", &[hidden("dns_retry", 1)]),
    ];
    for &(case, text, expected) in cases {
        assert_eq!(read("exim", "/etc/exim4/exim4.conf", text), expected, "{case}");
    }
}

#[test]
fn what_was_not_read_is_not_taken_for_a_default() {
    assert!(is_whole("sendmail", "O DelayLA=8\n") && !is_whole("sendmail", "Or5s\n"));
    assert!(is_whole("exim", "dns_retry = 3\n") && !is_whole("exim", ".include /etc/exim4/more\n"));
}

#[test]
fn where_files_are() {
    let cases: &[Start] = &[
        ("by the command line", "postfix", &["master", "-c", "/srv/a/", "-w"], None, &[&["/srv/a/main.cf"], &["/srv/a/master.cf"]]),
        ("by the environment", "postfix", &["master", "-w"], Some("/srv/b"), &[&["/srv/b/main.cf"], &["/srv/b/master.cf"]]),
        ("sendmail's usual ones", "sendmail", &["sendmail: accepting connections"], None, &[&["/etc/mail/sendmail.cf", "/etc/sendmail.cf"]]),
        ("sendmail's own option", "sendmail", &["/usr/sbin/sendmail", "-bd", "-C", "/srv/a.cf"], None, &[&["/srv/a.cf"]]),
        ("a list", "exim", &["exim4", "-bd", "-C/a:/b"], None, &[&["/a", "/b"]]),
    ];
    for &(case, mta, arguments, mail_config, expected) in cases {
        let arguments = arguments.iter().map(|it| (*it).to_owned()).collect();
        assert_eq!(by_name(mta).files(&Started { arguments, mail_config: mail_config.map(str::to_owned) }), expected, "{case}");
    }
}

/// Passwords in all places where one may stand, and in some where none should.
const SECRETS: &str = "O Timeout.ident=hunter2\nO Timeout.ident=5s hunter2\nO DelayLA=hunter2\nO AuthInfo=hunter2\nDhunter2\nXhunter2, S=hunter2, T=R:hunter2\n\
O DaemonPortOptions=Name=hunter2, L=hunter2\nsmtpd_error_sleep_time = hunter2\n smtpd_error_sleep_time = 5s hunter2\nsmtp_sasl_password_maps = static:hunter2\n\
milter_default_action = hunter2\nhide mysql_servers = localhost/db/user/hunter2\ndns_retry = hunter2\nhunter2 = 5s\nrfc1413_query_timeout = 5s \\\n hunter2\n\
hunter2 inet n - n - - smtpd -o smtpd_error_sleep_time=hunter2 -o hunter2=5s\n";

#[test]
fn no_secret_is_read() {
    for mta in ALL {
        for known in mta.settings() {
            let value = format!("{SECRETS}O {name}=hunter2\n{name} = hunter2\n{name} = 5s; hunter2\n", name = known.name);
            for file in ["/etc/main.cf", "/etc/master.cf"] {
                for found in mta.settings_in(file, &value).values {
                    assert!(!found.value.unwrap_or_default().contains("hunter2"), "{} {}", mta.name(), known.name);
                    // A service's name is told: `hunter2/inet/...`, which is one's own doing.
                    assert!(found.name.starts_with("hunter2/inet/") || !found.name.contains("hunter2"), "{}", found.name);
                }
            }
        }
    }
}

#[test]
fn no_form_has_room_for_a_password() {
    for value in ["hunter2", "Hunter", "5s5", "s", "1:2", "C:5s;hunter2", "R:5s;P:1s", "12345678", "5 s", "", "truе", "1s\n2s"] {
        let fits = |form: Form| form.fits(value);
        assert!(!fits(Form::Number) && !fits(Form::Time) && !fits(Form::Limits) && !fits(Form::Word(&["true"])), "{value:?}");
    }
    for value in ["hunter2", "hunter:2", "localhost:hunter2", "inet:", "127.0.0.1", "unix:/a", "localhost:99999", "a@127.0.0.1:25"] {
        assert!(!Form::Peer.fits(value), "{value}");
    }
    for value in ["127.0.0.1:10024", "inet:[::1]:10024", "localhost:10024"] {
        assert!(Form::Peer.fits(value), "{value}");
    }
    for value in ["5s", "0", "1h30m", "20"] {
        assert!(Form::Time.fits(value), "{value}");
    }
}

proptest! {
    #[test]
    fn any_text_is_a_configuration(text in "(O |O Timeout|\\.|ident|=|5s|smtpd_error_sleep_time|dns_retry|begin|\\.ifdef|\\.endif|-o |smtp inet n - n - - smtpd |X|T=R:|L=|,|;|\\\\|#|[ \n\t]|\\PC){0,80}") {
        for mta in ALL {
            for file in ["/main.cf", "/master.cf"] {
                let found = mta.settings_in(file, &text);
                prop_assert!(found.values.len() <= 64);
                for it in found.values {
                    let of_it = mta.settings().iter().find(|known| it.name.rsplit('/').next() == Some(known.name));
                    prop_assert!(of_it.is_some_and(|known| it.value.is_none_or(|value| known.form.fits(&value))), "{}", it.name);
                }
            }
        }
    }
}
