//! `folded`: one line for each thing that a session waited for, `session;command;cause;target us`, as flame graphs read it
//! (Brendan Gregg's stackcollapse form). Sums of a session, in microseconds. Not here: what was not a wait.

use super::{Error, Export, Form, Format, Output};
use crate::report::{Report, Session, Wait};
use crate::view::escape::escape;
use std::collections::BTreeMap;
use std::io::Write;

/// How many stacks of a session are told apart; what comes later with a new target is summed without it.
const MAX_STACKS: usize = 10_000;
/// Above waits behind a reply and before the next line, which are no command's.
const BETWEEN: &str = "between";

/// The line of the table.
pub const FORMAT: Format =
    Format { name: "folded", about: "Folded stacks for flame graphs: session;command;cause;target and microseconds", form: Form::File, begin };

fn begin(output: Output) -> Result<Box<dyn Export>, Error> {
    Ok(Box::new(Folded { out: output.stream()?, stacks: BTreeMap::new() }))
}

struct Folded {
    out: Box<dyn Write>,
    /// Microseconds of each stack of the session.
    stacks: BTreeMap<String, u64>,
}

/// A frame must hold neither the separator nor a line end; blanks would be taken for the one before the figure.
fn frame(text: &str) -> String {
    escape(text).chars().map(|c| if c == ';' || c.is_whitespace() || c.is_control() { '_' } else { c }).collect()
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
        let id = frame(&session.id);
        for command in &session.commands {
            let above = format!("{id};{}", command.verb.name());
            command.waits.iter().for_each(|wait| self.wait(&above, wait));
        }
        session.between.iter().for_each(|wait| self.wait(&format!("{id};{BETWEEN}"), wait));
        for (stack, us) in std::mem::take(&mut self.stacks).into_iter().filter(|(_, us)| *us > 0) {
            writeln!(self.out, "{stack} {us}")?;
        }
        Ok(())
    }

    fn finish(&mut self, _totals: &Report) -> Result<(), Error> {
        Ok(self.out.flush()?)
    }
}
