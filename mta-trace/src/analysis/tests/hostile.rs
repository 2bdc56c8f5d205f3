//! Whatever a log says, the analysis neither panics nor breaks its sums.

use super::trace::*;
use crate::event::*;
use mta_trace_common::syscalls::Call;
use proptest::prelude::*;

fn any_data() -> impl Strategy<Value = Option<Bytes>> {
    let lines = prop_oneof![
        Just(b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n".to_vec()),
        Just(b"DATA\r\n".to_vec()),
        Just(b"AUTH LOGIN\r\n".to_vec()),
        Just(b"STARTTLS\r\n".to_vec()),
        Just(b"QUIT\r\n".to_vec()),
        Just(b"BDAT 9 LAST\r\n".to_vec()),
        Just(b"250 ok\r\n".to_vec()),
        Just(b"220 go\r\n354 go\r\n".to_vec()),
        Just(b"334 x\r\n".to_vec()),
        Just(b"421 x\r\n".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..40),
    ];
    proptest::option::of(lines.prop_map(Bytes))
}

fn any_sys() -> impl Strategy<Value = Sys> {
    let modes = prop_oneof![
        Just(SmtpMode::Command),
        Just(SmtpMode::Auth),
        Just(SmtpMode::Data),
        Just(SmtpMode::Opaque),
        Just(SmtpMode::Pending),
        Just(SmtpMode::Unknown)
    ];
    let ids = (0..Call::ALL.len(), prop_oneof![Just(DAEMON), Just(CHILD)], 0..8_i32, 0..3_u64);
    let rets = prop_oneof![Just(0_i64), Just(5), Just(2), Just(-11), Just(-104), Just(-512), Just(-516), any::<i64>()];
    let times = (0..20 * MS, 0..20 * MS, proptest::option::of(0..30 * MS));
    let peers = prop_oneof![Just("192.0.2.1:53"), Just("10.0.0.1:113"), Just("/run/saslauthd/mux"), Just("10.0.0.1:25")];
    (ids, rets, times, any_data(), modes, peers, any::<[bool; 5]>()).prop_map(
        |((call, pid, fd, inode), ret, (t, cpu, start), data, mode, peer, flags)| {
            let mut trace = Trace::empty();
            trace.pid = pid;
            trace.t = 3 * SECOND + t;
            trace.cpu(cpu);
            let sys = trace.call(Call::ALL[call], ret);
            sys.start = start.map(|start| 3 * SECOND + start);
            sys.at_start = sys.start.filter(|_| flags[0]).map(|_| Counters::default());
            sys.args.fd = Some(fd);
            sys.args.fds = vec![PollFd { fd, events: vec!["POLLIN".into()], revents: vec![] }];
            sys.args.timeout_ns = flags[1].then_some(5 * SECOND);
            sys.args.path = flags[2].then(|| "x".to_owned());
            sys.socket = flags[3].then(|| socket(CLIENT_INODE + inode, Proto::Tcp));
            sys.peer = Some(endpoint(peer));
            sys.milter = flags[4];
            sys.cut = flags[1];
            sys.data = data;
            sys.smtp = Some(Smtp { mode, dot: flags[2], carry: None });
            sys.clone()
        },
    )
}

fn any_block() -> impl Strategy<Value = Record> {
    (any::<u64>(), any::<u64>(), any::<bool>(), any::<u64>()).prop_map(|(t, since, unfinished, cpu_ns)| {
        let at = Counters { cpu_ns, ..Counters::default() };
        Record::Block(Box::new(Block {
            t,
            pid: CHILD,
            tid: CHILD,
            nr: 262,
            call: None,
            since,
            cause: None,
            unfinished,
            args: None,
            at,
            at_start: None,
            socket: None,
            peer: None,
        }))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn random_events_never_panic(steps in proptest::collection::vec(any_sys(), 0..40), ends_killed: bool) {
        let mut trace = Trace::accepted();
        trace.records.extend(steps.into_iter().map(|sys| Record::Sys(Box::new(sys))));
        trace.t = 10 * SECOND;
        trace.exit(ends_killed.then_some(9));
        let (report, _) = analyse(&trace.records);
        for session in &report.sessions {
            check_sums(session);
        }
    }

    #[test]
    fn wild_times_never_panic(blocks in proptest::collection::vec(any_block(), 0..6), t: u64, start: Option<u64>) {
        let mut trace = Trace::greeted();
        trace.records.extend(blocks);
        let sys = trace.line("QUIT\r\n");
        sys.t = t;
        sys.start = start;
        trace.reply("221 x\r\n");
        let _ = analyse(&trace.records);
    }
}

/// As in a sound trace, but for overlaps of time that a contradicting log may make.
fn check_sums(session: &crate::report::Session) {
    for command in &session.commands {
        let waits: f64 = command.waits.iter().map(|wait| wait.elapsed_s).sum();
        let sum = waits + command.short_waits_s + command.cpu_s + command.runqueue_s + command.unexplained_s;
        assert!((sum - command.elapsed_s).abs() < 1e-6, "{command:#?}");
    }
    let commands: f64 = session.commands.iter().map(|command| command.elapsed_s).sum();
    assert!((commands + session.client_s - session.elapsed_s).abs() < 1e-6);
}
