//! Milter packets: their head depends on five bytes, and whatever a filter says, the waits for it are sound.

use crate::{check, input::Input, kernel::Kernel, seeds};
use mta_trace::event::Record;
use mta_trace::proto::milter::{self, Reply};
use mta_trace::report::Cause;

const ASK: u8 = 0;
const ANSWER: u8 = 1;
const WAIT: u8 = 2;
const LINE: u8 = 3;

/// Conversations with filters.
pub fn seeds() -> Vec<Vec<u8>> {
    seeds::different(seeds::traces().iter().map(|trace| seed(trace)).filter(|seed| !seed.is_empty()).collect())
}

fn seed(trace: &[Record]) -> Vec<u8> {
    let mut seed = Vec::new();
    for record in trace {
        let Record::Sys(sys) = record else { continue };
        let Some(data) = sys.data.as_ref().filter(|data| sys.milter && data.len() == 5) else { continue };
        let is_answer = mta_trace::wait::is_receive(sys.call);
        if is_answer && sys.start.is_some() {
            seed.extend([WAIT, 10]);
        }
        seed.push(if is_answer { ANSWER } else { ASK });
        seed.extend(&data.0);
    }
    seed
}

/// Checks one input.
pub fn run(bytes: &[u8]) {
    head(bytes);
    let mut input = Input::new(bytes);
    let mut kernel = Kernel::greeted();
    while !input.is_empty() {
        match input.byte() % 4 {
            ASK => kernel.ask_milter(input.take(5)),
            ANSWER => kernel.milter_answers(input.take(5)),
            WAIT => kernel.wait_for_milter(u64::from(input.byte())),
            LINE => {
                kernel.hear(b"RCPT TO:<a@example.test>\r\n");
                kernel.work(u64::from(input.byte()));
                kernel.say(b"250 ok\r\n");
            }
            _ => unreachable!("there are four"),
        }
    }
    kernel.exit();
    let report = check::sound(&kernel.records);
    for wait in report.sessions.iter().flat_map(mta_trace::report::Session::waits) {
        assert_eq!(wait.milter.is_some(), wait.cause == Cause::Milter, "{wait:?}");
    }
}

fn head(bytes: &[u8]) {
    let Some(head) = milter::parse(bytes) else {
        assert!(bytes.len() < 5 || bytes[..4] == [0; 4]);
        return;
    };
    assert_eq!(Some(head), milter::parse(&bytes[..5]), "only the head counts");
    assert_eq!([&head.length.to_be_bytes()[..], &[head.command]].concat(), bytes[..5]);
    assert!(milter::stage(head.command).is_none_or(|stage| !stage.is_empty()));
    if let Reply::Final { name, .. } = milter::reply(head.command) {
        assert!(!name.is_empty());
    }
}
