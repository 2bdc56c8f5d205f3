//! A policy service that answers late (the protocol of `smtpd(8)`; its description is `SMTPD_POLICY_README`): attributes, an empty line, `action=`.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::journal::{Journal, What};
use crate::netns::Netns;
use crate::scenario::Policy;
use crate::stop::Stop;

/// Its port.
pub const PORT: u16 = 10031;

/// Serves until the lab ends.
pub fn serve(ns: &Netns, address: &str, scenario: &Policy, journal: &Journal, stop: &Stop) -> Result<()> {
    let listener = ns.run(|| TcpListener::bind((address, PORT)).context("bind the policy service's port"))?;
    let (scenario, journal, stop) = (scenario.clone(), journal.clone(), stop.clone());
    std::thread::spawn(move || {
        while stop.wait_readable(&listener) {
            let Ok((stream, _)) = listener.accept() else { continue };
            let (scenario, journal, stop) = (scenario.clone(), journal.clone(), stop.clone());
            // A mail server that hangs up is no error of the lab.
            std::thread::spawn(move || drop(converse(stream, &scenario, &journal, &stop)));
        }
    });
    Ok(())
}

fn converse(stream: TcpStream, scenario: &Policy, journal: &Journal, stop: &Stop) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    while stop.wait_readable(reader.get_ref()) {
        let mut line = String::new();
        while line != "\n" {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
        }
        journal.note(What::PolicyRequest);
        if !stop.pass(Duration::from_secs_f64(scenario.delay_s)) {
            return Ok(());
        }
        journal.note(What::PolicyReply);
        writer.write_all(format!("action={}\n\n", scenario.action).as_bytes())?;
    }
    Ok(())
}
