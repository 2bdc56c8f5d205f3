//! What a mail server's configuration files say of the settings that advice names, as events.
//!
//! In: the process that was named. Out: one record for each of the files that its file of knowledge (`mta/`) names, read in the process's own root.
//! Of a file only values that this allows are kept; of command line and environment only what says where the files are. What cannot be read is not known.

use super::proc;
use crate::event::{Record, SeedSetting, SeedSettings};
use crate::mta::{self, Started, Value};
use std::{fs, time::Duration};

/// Larger files are not read.
const MAX_BYTES: u64 = 4 * 1024 * 1024;
/// So long after its start a process may still read its files: what was forked then ran another program first.
const START: Duration = Duration::from_secs(2);
/// Longest command line and environment that are looked at.
const MAX_START: usize = 64 * 1024;

/// The records.
pub fn read(pid: u32) -> Vec<Record> {
    let Some(mta) = proc::exe(pid).and_then(|exe| mta::by_program(&exe)) else { return Vec::new() };
    let daemon = daemon_of(pid, mta.name());
    let started = Started {
        arguments: mta.pid_files().iter().find_map(|file| left_in(file, daemon)).unwrap_or_else(|| words(daemon, "cmdline")),
        mail_config: words(daemon, "environ").iter().find_map(|it| Some(it.strip_prefix("MAIL_CONFIG=")?.to_owned())),
    };
    let files = mta
        .files(&started)
        .into_iter()
        .filter_map(|names| names.into_iter().find_map(|name| Some((proc::file_in_root(daemon, &name, MAX_BYTES)?, name))));
    let since = proc::started(daemon);
    files
        .map(|((bytes, changed), file)| {
            let found = mta.settings_in(&file, &String::from_utf8_lossy(&bytes));
            let settings = found.values.into_iter().map(|Value { name, value, line }| SeedSetting { name, value, line }).collect();
            let newer = matches!((since, changed), (Some(since), Some(changed)) if changed > since + START);
            Record::SeedSettings(SeedSettings { file, whole: found.is_whole, newer, settings })
        })
        .collect()
}

/// The process that has read them: a child may have another root, and has its title where the command line was.
fn daemon_of(pid: u32, mta: &str) -> u32 {
    let parent = proc::status(pid, "PPid").filter(|parent| *parent > 1);
    let is_same = |parent: &u32| proc::exe(*parent).and_then(|exe| mta::by_program(&exe)).is_some_and(|of| of.name() == mta);
    parent.filter(is_same).map_or(pid, |parent| daemon_of(parent, mta))
}

/// The command line in a file that its daemon has written; none: it is another one's, or holds none.
fn left_in(file: &str, daemon: u32) -> Option<Vec<String>> {
    let (bytes, _) = proc::file_in_root(daemon, file, MAX_START.try_into().unwrap_or(u64::MAX))?;
    command_line(&String::from_utf8_lossy(&bytes), daemon)
}

fn command_line(text: &str, daemon: u32) -> Option<Vec<String>> {
    let mut lines = text.lines();
    let is_own = lines.next()?.trim().parse() == Ok(daemon);
    let words: Vec<String> = lines.next()?.split_ascii_whitespace().map(str::to_owned).collect();
    (is_own && !words.is_empty()).then_some(words)
}

fn words(pid: u32, name: &str) -> Vec<String> {
    let mut bytes = fs::read(proc::path(pid, name)).unwrap_or_default();
    bytes.truncate(MAX_START);
    bytes.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::command_line;

    #[test]
    fn a_command_line_is_taken_from_the_daemons_own_file() {
        let words = |text| command_line(text, 8923).map(|words| words.join("|"));
        assert_eq!(words("8923\n/usr/sbin/sendmail -bD -C/srv/a.cf\n").as_deref(), Some("/usr/sbin/sendmail|-bD|-C/srv/a.cf"));
        for text in ["", "8923", "8923\n\n", "8924\nsendmail -bd\n", "x\nsendmail\n"] {
            assert_eq!(words(text), None, "{text}");
        }
    }
}
