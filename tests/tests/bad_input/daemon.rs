//! Finding the daemon, and saying who came.

use crate::{
    program::{Tracer, binary, inside, mta_trace},
    world::{lab, session},
};
use std::process::Command;

tests! {
    root: the_daemon_is_found_by_port_by_name_and_by_itself, when_nobody_matched_it_says_who_came_instead;
    anyone:
}

fn the_daemon_is_found_by_port_by_name_and_by_itself() {
    let lab = lab("found");
    let pid = lab.daemon_pid();
    for (name, args) in [("port", &["--port", "25"][..]), ("mta", &["--mta", "sendmail"]), ("itself", &[])] {
        let tracer = inside(pid, || {
            let mut command = Command::new(binary());
            command.arg("attach").args(args).args(["--sessions", "1"]);
            Tracer::start(&mut command, &lab.dir().join(name))
        });
        session(&lab);
        let ended = tracer.wait();
        assert!(ended.is_done().stderr.contains(&format!("pid {pid}")), "{name}: {}", ended.stderr);
        assert!(ended.stderr.contains("sendmail 8.") && ended.stderr.contains("listening on 10.99.0.2:25"), "{name}: {}", ended.stderr);
        assert!(ended.out().contains("1 session,"), "{name}: {}", ended.out());
    }
    let nobody = inside(pid, || mta_trace(&["attach", "--port", "26"]));
    nobody.is_refused(1, &["nobody listens on port 26"]);
}

fn when_nobody_matched_it_says_who_came_instead() {
    let lab = lab("others");
    let tracer = Tracer::attach(&lab, "tracer", &["--client", "192.0.2.0/24"]);
    session(&lab);
    session(&lab);
    let ended = tracer.interrupt();
    let expected = "0 sessions from 192.0.2.0/24; 2 others were accepted: 10.99.0.1 (2)";
    assert!(ended.is_done().out().contains(expected), "{}", ended.out());
}
