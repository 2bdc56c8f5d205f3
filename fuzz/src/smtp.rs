//! SMTP: how bytes are split over reads and writes changes nothing, what is no command leaves no trace, and the session's account closes.

use crate::input::{Input, chunk};
use crate::kernel::{Kernel, scan};
use crate::{check, seeds};
use mta_trace::event::{Record, Sys};
use mta_trace::mta::queue_id;
use mta_trace::proto::smtp::{Line, Lines, Replies, domain_of};
use mta_trace::report::Verb;
use mta_trace_common::smtp::{MODE_COMMAND, Scanner};

const HEAR: u8 = 0;
const SAY: u8 = 1;
const WAIT: u8 = 2;
const WORK: u8 = 3;
const BLOCK: u8 = 4;
const SLEEP: u8 = 5;
const SECRET: u8 = 6;
const LEAVE: u8 = 7;

/// What no record may hold: a client says it where no command begins.
const SECRET_LINE: &[u8] = b"\nhunter2hunter2\n";
const SECRET_TEXT: &str = "hunter2";

/// Dialogues.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<_> = seeds::traces().iter().map(|trace| seed(trace)).collect();
    // Longer than what is kept of a line.
    seeds.push([&[HEAR][..], &chunk(&[&[b' '; 4094][..], b"MAIL FROM:<a@b>\r\n"].concat())].concat());
    seeds::different(seeds)
}

/// What clients sent, for the scanner.
pub fn lines() -> Vec<Vec<u8>> {
    let data = |sys: &Sys| sys.data.as_ref().filter(|_| is_heard(sys)).map(|data| data.0.clone());
    let all = seeds::traces();
    all.iter()
        .map(|trace| trace.iter().filter_map(|record| if let Record::Sys(sys) = record { data(sys) } else { None }).flatten().collect())
        .collect()
}

fn is_heard(sys: &Sys) -> bool {
    sys.smtp.is_some() && mta_trace::wait::is_receive(sys.call)
}

fn seed(trace: &[Record]) -> Vec<u8> {
    let mut seed = Vec::new();
    for record in trace {
        let Record::Sys(sys) = record else { continue };
        if sys.smtp.is_none() || sys.ret < 0 {
            continue;
        }
        let length = usize::try_from(sys.ret).unwrap_or(0).min(200);
        // What was not kept is something.
        let data = sys.data.as_ref().map_or_else(|| vec![b'x'; length], |data| data.0.clone());
        let heard = is_heard(sys);
        if heard {
            seed.extend([WAIT, 20]);
        }
        match (&sys.smtp, heard) {
            (Some(smtp), true) if smtp.dot => seed.extend([&[HEAR][..], &chunk(b"x\r\n.\r\n")].concat()),
            (_, true) if sys.ret == 0 => seed.push(LEAVE),
            _ => seed.extend([&[if heard { HEAR } else { SAY }][..], &chunk(&data)].concat()),
        }
    }
    seed
}

/// Checks one input.
pub fn run(bytes: &[u8]) {
    dialogue(bytes);
    let mut input = Input::new(bytes);
    let piece = usize::from(input.byte());
    let rest = input.take(usize::MAX);
    lines_do_not_depend_on_reads(rest, piece);
    replies_do_not_depend_on_writes(rest, piece);
}

fn dialogue(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut kernel = Kernel::greeted();
    let mut may_tell = false;
    while !input.is_empty() {
        match input.byte() % 8 {
            HEAR => {
                let bytes = input.chunk();
                may_tell |= bytes.windows(SECRET_TEXT.len()).any(|part| part == SECRET_TEXT.as_bytes());
                kernel.hear(bytes);
            }
            SAY => {
                let bytes = input.chunk();
                may_tell |= bytes.windows(SECRET_TEXT.len()).any(|part| part == SECRET_TEXT.as_bytes());
                kernel.say(bytes);
            }
            WAIT => kernel.wait_for_client(u64::from(input.byte())),
            WORK => kernel.work(u64::from(input.byte())),
            BLOCK => {
                kernel.block(u64::from(input.byte()));
                kernel.queue(u64::from(input.byte()));
            }
            SLEEP => kernel.sleep(u64::from(input.byte())),
            SECRET => kernel.hear(SECRET_LINE),
            LEAVE => kernel.hear_end(),
            _ => unreachable!("there are eight"),
        }
    }
    kernel.exit();
    check::sound(&kernel.records);
    if !may_tell {
        for record in &kernel.records {
            let Record::Sys(sys) = record else { continue };
            let is_told = sys.data.as_ref().is_some_and(|data| data.windows(SECRET_TEXT.len()).any(|part| part == SECRET_TEXT.as_bytes()));
            assert!(!is_told, "{sys:#?}");
        }
    }
}

/// Through the kernel side's scanner, up to the first line behind which the client may send anything.
fn lines_do_not_depend_on_reads(bytes: &[u8], piece: usize) {
    let whole = read_lines(bytes, bytes.len());
    for line in &whole {
        assert_eq!(line.text.is_none(), line.verb == Verb::Invalid, "{line:?}");
        let text = line.text.as_deref().unwrap_or_default();
        assert!(domain_of(line.verb, text).is_none_or(|domain| text.contains(domain)));
    }
    for piece in [1, piece] {
        assert_eq!(read_lines(bytes, piece), whole, "{:?} read {piece} by {piece}", String::from_utf8_lossy(bytes));
    }
}

fn read_lines(bytes: &[u8], piece: usize) -> Vec<Line> {
    let (mut scanner, mut lines, mut all) = (Scanner::new(MODE_COMMAND), Lines::default(), Vec::new());
    for read in bytes.chunks(piece.max(1)) {
        if scanner.mode != MODE_COMMAND {
            break;
        }
        let (carry, data) = scan(&mut scanner, read);
        all.extend(lines.push(&carry, &data));
    }
    // How much came behind a line in its read depends on the reads.
    for line in &mut all {
        line.behind = 0;
    }
    all
}

fn replies_do_not_depend_on_writes(bytes: &[u8], piece: usize) {
    let whole = Replies::default().push(bytes, false);
    for piece in [1, piece] {
        let mut replies = Replies::default();
        let split: Vec<_> = bytes.chunks(piece.max(1)).flat_map(|write| replies.push(write, false)).collect();
        assert_eq!(split, whole, "{:?} written {piece} by {piece}", String::from_utf8_lossy(bytes));
    }
    for reply in &whole {
        assert!(reply.code <= 999 && reply.first_line.len() >= 3, "{reply:?}");
        assert!(queue_id(&reply.first_line).is_none_or(|id| reply.first_line.contains(&id)));
    }
    // Of its middle there may be no copy, which leaves the last code.
    let cut = Replies::default().push(bytes, true);
    assert!(cut.len() <= whole.len() + 1, "{cut:?} of {whole:?}");
    if let Some(reply) = Replies::default().push_code_only(bytes) {
        assert_eq!(reply.first_line, reply.code.to_string());
    }
}
