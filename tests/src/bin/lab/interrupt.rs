//! SIGINT, SIGTERM and SIGHUP as events, so that a run which is interrupted still takes everything down.

use std::sync::mpsc::{Sender, channel};

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};

/// From now on these signals no longer end the process; each is sent as its number through `events`.
pub fn catch<T: Send + 'static>(events: Sender<T>, event: fn(u8) -> T) -> Result<()> {
    let (ready, is_ready) = channel();
    std::thread::spawn(move || {
        let listened = listen(&events, event, || drop(ready.send(Ok(()))));
        // Whoever waits for readiness hears of it; after that the run has ended.
        let _ = ready.send(listened);
    });
    is_ready.recv().context("the thread for signals ended")?
}

fn listen<T>(events: &Sender<T>, event: fn(u8) -> T, ready: impl FnOnce()) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("signals")?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
        let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
        let mut hangup = signal(SignalKind::hangup()).context("SIGHUP")?;
        ready();
        loop {
            let number = tokio::select! {
                _ = interrupt.recv() => 2,
                _ = terminate.recv() => 15,
                _ = hangup.recv() => 1,
            };
            if events.send(event(number)).is_err() {
                return Ok(());
            }
        }
    })
}
