//! A saslauthd that answers late. It looks at the lengths of what it is sent and forgets the rest.
//!
//! ```text
//! request = 4 x (length 2 | bytes): user, password, service, realm      reply = length 2 | "OK" or "NO"
//! ```

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use crate::journal::{Journal, What};
use crate::scenario::Saslauthd;
use crate::stop::Stop;

/// Serves the socket until the lab ends.
pub fn serve(listener: UnixListener, scenario: &Saslauthd, journal: &Journal, stop: &Stop) {
    let (scenario, journal, stop) = (scenario.clone(), journal.clone(), stop.clone());
    std::thread::spawn(move || {
        while stop.wait_readable(&listener) {
            let Ok((stream, _)) = listener.accept() else { continue };
            let (scenario, journal, stop) = (scenario.clone(), journal.clone(), stop.clone());
            std::thread::spawn(move || answer(stream, &scenario, &journal, &stop));
        }
    });
}

fn answer(mut stream: UnixStream, scenario: &Saslauthd, journal: &Journal, stop: &Stop) {
    for _ in 0..4 {
        let mut len = [0; 2];
        if !stop.wait_readable(&stream) || stream.read_exact(&mut len).is_err() {
            return;
        }
        let mut part = vec![0; usize::from(u16::from_be_bytes(len))];
        if stream.read_exact(&mut part).is_err() {
            return;
        }
    }
    journal.note(What::SaslRequest);
    if stop.pass(Duration::from_secs_f64(scenario.delay_s)) {
        let reply = if scenario.is_no { "NO" } else { "OK" };
        journal.note(What::SaslReply { reply: reply.to_owned() });
        // Whether the MTA is still there is the client's finding.
        let _ = stream.write_all(&[&[0, 2], reply.as_bytes()].concat());
    }
}
