//! `OpenSMTPD`: what its programs are called.

use super::{Mta, Shape};

/// Its parent does nothing; one of its children serves all sessions.
pub struct OpenSmtpd;

impl Mta for OpenSmtpd {
    fn name(&self) -> &'static str {
        "opensmtpd"
    }

    fn programs(&self) -> &'static [&'static str] {
        &["smtpd", "opensmtpd"]
    }

    fn shape(&self) -> Shape {
        Shape::ForkPerSession
    }
}
