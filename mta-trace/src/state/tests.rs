use super::*;
use crate::analysis::tests::trace::seed_process;
use crate::event::{Proto, SocketId};

fn sys(call: Call, ret: i64, args: Args) -> Sys {
    Sys { t: 1, pid: 1, tid: 1, args, ..Sys::bare(call, ret) }
}

fn fd(fd: i32) -> Args {
    Args { fd: Some(fd), ..Args::default() }
}

fn path(path: &str) -> Args {
    Args { path: Some(path.into()), ..Args::default() }
}

#[test]
fn relative_paths_follow_the_working_directory() {
    let mut state = State::default();
    state.apply(&sys(Call::Chdir, 0, path("/var/spool/mqueue")));
    state.apply(&sys(Call::Openat, 4, path("./df1")));
    state.apply(&sys(Call::Dup, 6, fd(4)));
    state.apply(&sys(Call::Close, 0, fd(4)));
    let process = state.process(1).expect("process");
    assert_eq!(process.fds.object(4), None);
    assert_eq!(process.fds.object(6), Some(&Object::File("/var/spool/mqueue/df1".into())));
}

#[test]
fn the_last_descriptor_of_a_socket_counts() {
    let mut state = State::default();
    let id = SocketId { inode: 77, proto: Proto::Tcp, local: None, peer: None, peer_inode: None };
    let mut accept = sys(Call::Accept, 5, fd(3));
    accept.socket = Some(id);
    state.apply(&accept);
    assert_eq!(state.process(1).expect("process").fds.object(3), None);
    state.apply(&sys(Call::Dup, 3, fd(5)));
    state.apply(&sys(Call::Dup2, 1, Args { fd: Some(3), fd2: Some(1), ..Args::default() }));
    state.apply(&sys(Call::Close, 0, fd(5)));
    state.apply(&sys(Call::Close, 0, fd(3)));
    assert!(state.holds(1, 77));
    // dup2 of /dev/null over it, which nobody saw opened.
    state.apply(&sys(Call::Dup2, 1, Args { fd: Some(9), fd2: Some(1), ..Args::default() }));
    assert!(!state.holds(1, 77));
}

#[test]
fn close_range_to_the_end() {
    let mut state = State::default();
    state.apply(&sys(Call::Openat, 4, path("/a")));
    state.apply(&sys(Call::Openat, 2, path("/b")));
    state.apply(&sys(Call::CloseRange, 0, Args { fd: Some(3), fd2: Some(-1), ..Args::default() }));
    assert!(state.process(1).expect("process").fds.object(4).is_none());
    assert!(state.process(1).expect("process").fds.object(2).is_some());
}

#[test]
fn processes_whose_ends_were_lost_have_a_bound() {
    let mut state = State::default();
    let (daemon, count) = (1, u32::try_from(MAX_PROCS).unwrap() + 100);
    state.entry(daemon).role = Role::Daemon;
    for n in 0..count {
        let (t, child, at) = (u64::from(n) + 1, 10 + n, crate::event::Counters::default());
        state.fork(&Fork { t, pid: daemon, tid: daemon, child, child_tid: child, comm: "sendmail".into(), traced: true, at });
    }
    assert!(state.procs.len() <= MAX_PROCS, "{}", state.procs.len());
    assert!(state.process(daemon).is_some() && state.process(10 + count - 1).is_some() && state.process(10).is_none());
}

/// Found by the scenario `postfix-map-proxymap`: `master`'s descriptor 9 was taken for that of the smtpd that it had executed.
#[test]
fn regress_what_another_program_has_of_its_descriptors_is_not_known() {
    let mut state = State::default();
    state.seed_fd(&SeedFd { pid: 1, fd: 9, path: Some("/var/spool/postfix/pid/master.pid".into()), socket: None, client: false });
    state.seed_fd(&SeedFd { pid: 1, fd: 2, path: Some("/dev/null".into()), socket: None, client: false });
    state.exec(&Exec { t: 2, pid: 1, comm: "smtpd".into() });
    let fds = &state.process(1).expect("a process").fds;
    assert_eq!((fds.object(9), fds.object(2)), (None, Some(&Object::File("/dev/null".into()))));
}

/// `queue` of OpenSMTPD names its files from the spool on.
#[test]
fn paths_of_a_process_with_its_own_root_begin_there() {
    let mut state = State::default();
    let spool = || Some("/var/spool/smtpd".to_owned());
    state.seed_process(&SeedProc { root: spool(), cwd: spool(), ..seed_process(10, 1, "loop") });
    state.fork(&Fork { t: 1, pid: 10, tid: 10, child: 11, child_tid: 11, comm: "smtpd".into(), traced: true, at: crate::event::Counters::default() });
    let args = |path: &str| Args { path: Some(path.into()), ..Args::default() };
    for pid in [10, 11] {
        let process = state.process(pid).expect("a process");
        assert_eq!(process.path_of(&args("/incoming/1")).as_deref(), Some("/var/spool/smtpd/incoming/1"));
        assert_eq!(process.path_of(&args("queue/2")).as_deref(), Some("/var/spool/smtpd/queue/2"));
        // Of an open file the kernel tells the whole path.
        let fsync = Sys { pid, tid: pid, args: Args { fd: Some(9), ..args("/var/spool/smtpd/incoming/1") }, ..Sys::bare(Call::Fsync, 0) };
        state.apply(&fsync);
        let process = state.process(pid).expect("a process");
        assert_eq!(process.path_of(&fsync.args).as_deref(), Some("/var/spool/smtpd/incoming/1"));
        // By this it is told whose it is.
        let socket = Endpoint::Unix("/run/nscd/socket".into());
        assert_eq!(process.absolute_peer(&socket), socket);
    }
}
