//! Port 113 of the client (RFC 1413): no listener, dropped packets, silence, or a late answer.
//!
//! In comes `SERVER-PORT, CLIENT-PORT`, out goes `... : USERID : UNIX : lab`. Times go into the journal.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::journal::{Journal, What};
use crate::netns::Netns;
use crate::scenario::{Ident, IdentMode};
use crate::stop::Stop;

/// Does what the scenario says; for `refuse` there is nothing to do.
pub fn install(ns: &Netns, scenario: &Ident, journal: &Journal, stop: &Stop) -> Result<()> {
    match scenario.mode {
        IdentMode::Refuse => Ok(()),
        IdentMode::Drop => ns.drop_packets(113),
        IdentMode::Silent | IdentMode::Answer => serve(ns, scenario, journal, stop),
    }
}

fn serve(ns: &Netns, scenario: &Ident, journal: &Journal, stop: &Stop) -> Result<()> {
    // Over IPv4 too.
    let listener = ns.run(|| TcpListener::bind("[::]:113").context("bind port 113"))?;
    let (scenario, journal, stop) = (scenario.clone(), journal.clone(), stop.clone());
    std::thread::spawn(move || {
        while stop.wait_readable(&listener) {
            let Ok((stream, _)) = listener.accept() else { continue };
            journal.note(What::IdentAccept);
            let (scenario, journal, stop) = (scenario.clone(), journal.clone(), stop.clone());
            std::thread::spawn(move || answer(stream, &scenario, &journal, &stop));
        }
    });
    Ok(())
}

fn answer(stream: TcpStream, scenario: &Ident, journal: &Journal, stop: &Stop) {
    let mut line = String::new();
    let mut reader = BufReader::new(stream);
    if !stop.wait_readable(reader.get_ref()) || reader.read_line(&mut line).is_err() {
        return;
    }
    journal.note(What::IdentQuery);
    if scenario.mode == IdentMode::Silent {
        // Holds the connection until the MTA gives up.
        stop.wait_readable(reader.get_ref());
    } else if stop.pass(Duration::from_secs_f64(scenario.delay_s)) {
        journal.note(What::IdentReply);
        // The MTA may have given up.
        let _ = write!(reader.into_inner(), "{} : USERID : UNIX : lab\r\n", line.trim());
    }
}
