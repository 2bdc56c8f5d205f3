//! `lab picture`: what a terminal shows while a session waits, as text, for the head of the README.
//!
//! A real session (the scenario below) is traced by the real program on a terminal of its own, whose screen is kept by the crate `vt100`. The picture is taken while the
//! second look-up of `MAIL` is waited for. Written between two marks of README.md; nothing else of it is touched.

use std::fs::File;
use std::io::Read;
use std::num::NonZeroU16;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use lab::Lab;
use lab::scenario::Scenario;
use lab::terminal::Terminal;

const SCENARIO: &str = "the-case";
const ROWS: NonZeroU16 = NonZeroU16::new(24).expect("not zero");
const COLUMNS: NonZeroU16 = NonZeroU16::new(80).expect("not zero");
/// What is on the screen when the picture is taken: a wait that goes on.
const MOMENT: &str = "dns A example.com @10.99.0.1 ...";
const MARKS: [&str; 2] = ["<!-- picture: cargo xtask picture -->\n", "<!-- end of the picture -->"];
const LIMIT: Duration = Duration::from_mins(1);

/// Takes it, and puts it into the README.
pub fn take() -> Result<()> {
    let scenario = Scenario::named(SCENARIO)?;
    let lab = Lab::up(&scenario)?;
    let terminal = Terminal::open(ROWS.get(), COLUMNS.get())?;
    let screen = Arc::new(Mutex::new(vt100::Parser::new(ROWS, COLUMNS, 0)));
    let mut command = Command::new(lab::run::tracer_path()?);
    command.args(["attach", "-p", &lab.daemon_pid().to_string(), "--client", &scenario.client, "--sessions", "1"]);
    command.env("TERM", "xterm-256color").env("NO_COLOR", "1").stdin(Stdio::null()).stdout(terminal.side()?).stderr(terminal.side()?);
    watch(terminal.window, Arc::clone(&screen));
    lab::netns::die_with_parent(&mut command);
    let mut tracer = command.spawn().context("start the tracer")?;
    let shown = || screen.lock().unwrap_or_else(PoisonError::into_inner).screen().contents();
    let wait = |is_there: &mut dyn FnMut() -> Option<String>| wait(is_there).with_context(|| format!("the terminal shows\n{}", shown()));
    wait(&mut || Some(shown()).filter(|text| text.contains("ready: tracing")))?;
    lab.install_faults()?;
    let picture = std::thread::scope(|scope| {
        let client = scope.spawn(|| lab.play_all());
        let picture = wait(&mut || Some(shown()).filter(|text| text.contains(MOMENT)));
        client.join().map_err(|_| anyhow::anyhow!("the client"))??;
        picture
    })?;
    tracer.wait().context("wait for the tracer")?;
    put(&picture)
}

/// Reads what is written to the terminal, until nobody has it any more.
fn watch(window: OwnedFd, screen: Arc<Mutex<vt100::Parser>>) {
    std::thread::spawn(move || {
        let mut window = File::from(window);
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = window.read(&mut bytes) {
            screen.lock().unwrap_or_else(PoisonError::into_inner).process(bytes.get(..count).unwrap_or_default());
        }
    });
}

fn wait(is_there: &mut dyn FnMut() -> Option<String>) -> Result<String> {
    let end = Instant::now() + LIMIT;
    loop {
        if let Some(found) = is_there() {
            return Ok(found);
        }
        if Instant::now() >= end {
            bail!("what was waited for did not come");
        }
        // A screen has no event for what it shows.
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn put(picture: &str) -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let text = std::fs::read_to_string(&path).context("read README.md")?;
    let [begin, end] = MARKS;
    let (head, rest) = text.split_once(begin).context("README.md has no mark for the picture")?;
    let (_, tail) = rest.split_once(end).context("README.md has no mark for the end of the picture")?;
    let picture: Vec<&str> = picture.trim_end().lines().map(str::trim_end).collect();
    std::fs::write(&path, format!("{head}{begin}```text\n{}\n```\n{end}{tail}", picture.join("\n"))).context("write README.md")
}
