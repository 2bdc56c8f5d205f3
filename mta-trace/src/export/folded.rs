//! `folded`: one line for each thing that sessions waited for, `mta;command;cause;target us`, as flame graphs read it
//! (Brendan Gregg's stackcollapse form). Sums of all sessions, in microseconds. Not here: what was not a wait.

use super::{Error, Export, Form, Format, Output};
use crate::report::{Report, Session, Wait};
use std::collections::BTreeMap;
use std::io::Write;

/// How many stacks are told apart; what comes later with a new target is summed without it.
const MAX_STACKS: usize = 100_000;

/// The line of the table.
pub const FORMAT: Format =
    Format { name: "folded", about: "Folded stacks for flame graphs: mta;command;cause;target and microseconds", form: Form::File, begin };

fn begin(output: Output) -> Result<Box<dyn Export>, Error> {
    Ok(Box::new(Folded { out: output.stream()?, stacks: BTreeMap::new() }))
}

struct Folded {
    out: Box<dyn Write>,
    /// Microseconds of each stack.
    stacks: BTreeMap<String, u64>,
}

/// A frame must hold neither the separator nor a line end; blanks would be taken for the one before the figure.
fn frame(text: &str) -> String {
    text.chars().map(|c| if c == ';' || c.is_whitespace() || c.is_control() { '_' } else { c }).collect()
}

fn us(seconds: f64) -> u64 {
    std::time::Duration::try_from_secs_f64(seconds).map_or(0, |it| u64::try_from(it.as_micros()).unwrap_or(u64::MAX))
}

impl Folded {
    fn wait(&mut self, above: &str, wait: &Wait) {
        let short = format!("{above};{}", wait.cause.name());
        let full = wait.target.as_deref().map_or_else(|| short.clone(), |target| format!("{short};{}", frame(target)));
        // What the far end waited for is a part of this wait, and stands above it.
        let inner_us: u64 = wait.inner.iter().map(|inner| us(inner.elapsed_s)).sum();
        let stack = if self.stacks.len() < MAX_STACKS || self.stacks.contains_key(&full) { full } else { short };
        *self.stacks.entry(stack.clone()).or_default() += us(wait.elapsed_s).saturating_sub(inner_us);
        wait.inner.iter().for_each(|inner| self.wait(&stack, inner));
    }
}

impl Export for Folded {
    fn session(&mut self, session: &Session) -> Result<(), Error> {
        for command in &session.commands {
            let above = format!("{};{}", frame(&session.mta), command.verb.name());
            command.waits.iter().for_each(|wait| self.wait(&above, wait));
        }
        Ok(())
    }

    fn finish(&mut self, _totals: &Report) -> Result<(), Error> {
        for (stack, us) in self.stacks.iter().filter(|(_, us)| **us > 0) {
            writeln!(self.out, "{stack} {us}")?;
        }
        Ok(self.out.flush()?)
    }
}
