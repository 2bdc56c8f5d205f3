//! The commands of the documents that trace, run against the lab's mail server. In each the server that is selected and the client become the lab's, and one that would go on
//! without end gets a second; every other option is as it stands there.

use crate::{
    LIMIT,
    program::{Tracer, binary, run},
    world::{lab, session},
};
use lab::documents::commands;
use std::process::Command;

tests! {
    root: every_attach_of_the_documents_is_ready;
    anyone:
}

/// Options whose value is another one here.
const SELECTIONS: &[&str] = &["-p", "--port", "--mta"];

fn every_attach_of_the_documents_is_ready() {
    let lab = lab("documents");
    let all: Vec<Vec<String>> = commands().unwrap().iter().filter_map(lab::documents::Command::arguments).collect();
    let attaches: Vec<&Vec<String>> = all.iter().filter(|words| words.first().is_some_and(|word| word == "attach")).collect();
    assert!(attaches.len() >= 10, "{attaches:?}");
    for words in attaches {
        let folder = crate::world::folder("documents-log");
        let mut arguments = vec!["attach".to_owned(), "-p".into(), lab.daemon_pid().to_string()];
        let mut rest = words.iter().skip(1);
        while let Some(word) = rest.next() {
            match word.as_str() {
                selection if SELECTIONS.contains(&selection) => _ = rest.next(),
                // One session or one second is enough of each.
                "--sessions" | "--duration" => _ = rest.next(),
                "--client" => {
                    rest.next();
                    arguments.extend(["--client".into(), "10.99.0.0/16".into()]);
                }
                word => arguments.push(word.to_owned()),
            }
        }
        arguments.extend(["--sessions".into(), "1".into()]);
        let mut command = Command::new(binary());
        command.args(&arguments).current_dir(&folder);
        let tracer = Tracer::start(&mut command, &folder.join("said"));
        session(&lab);
        let ended = tracer.wait();
        assert!(ended.status.success(), "{arguments:?}: {}", ended.stderr);
        if let Some(log) = arguments.iter().skip_while(|word| *word != "-o").nth(1).filter(|log| *log != "-") {
            let report = run(Command::new(binary()).args(["report", log]).current_dir(&folder));
            // The flight recorder keeps nothing of a session that is fast.
            let kept = if arguments.iter().any(|word| word == "--slower-than") { "0 sessions" } else { "1 session" };
            assert!(report.is_done().out().contains(kept), "{arguments:?}: {}", report.out());
        }
    }
    assert!(lab.wait_served(LIMIT));
}
