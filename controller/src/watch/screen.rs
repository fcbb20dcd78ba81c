//! Watching on a full screen, until somebody leaves it.

use std::convert::Infallible;
use std::future::pending;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use lariat_base::clock::since_boot;
use lariat_base::name::JobId;
use lariat_client::run::{Log, LogsError, Wanted};
use lariat_client::{Broken, HostHandle};
use lariat_wire::protocol::failure::Cause;
use lariat_wire::protocol::job::Start;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::host::Look;
use super::key::Key;
use super::log_text::{LogStream, SharedLog};
use super::model::{Leave, Model};
use super::terminal::{FullScreen, Input};
use super::view::{self, Surroundings};
use super::watching::{Hosts, Watching};
use crate::error::CliError;
use crate::fleet::Fleet;
use crate::jobs;
use crate::status;
use crate::target::Chosen;

/// How often the screen is drawn at most, but for keys.
const DRAW: Duration = Duration::from_millis(500);

/// How often it is drawn at least: it has times.
const REDRAW: Duration = Duration::from_secs(1);

/// The lines of a job's output to begin with.
const LINES: u64 = 1000;

/// The text that a job's output is read into, and what reads it. That never ends, for the text stays on the screen.
type Reading = (SharedLog, Pin<Box<dyn Future<Output = Infallible>>>);

/// Shows the hosts. Returns the exit status.
pub(super) async fn run(hosts: Hosts<'_>) -> Result<u8, CliError> {
    let failed = |what: &'static str| move |error| CliError::from(error).during(what);
    let context = hosts.context;
    let (fleet, chosen) = (Arc::clone(&hosts.fleet), hosts.chosen.clone());
    let (mut model, every) = (Model::new(hosts.names()), hosts.every);
    context.outages.screen();
    let Watching { mut told, mut pool, mut signals } = hosts.watch()?;
    let (mut screen, mut input) = FullScreen::enter().map_err(failed("set up the terminal"))?;
    let mut ticks = interval(DRAW);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut drawn, mut is_old): (Option<Instant>, bool) = (None, true);
    let mut reading: Option<Reading> = None;
    let status = loop {
        tokio::select! {
            biased;
            signal = signals.next() => break status::signal(signal),
            () = screen.gone() => break status::NO_READER,
            first = next(&mut input) => {
                let more = std::iter::from_fn(|| input.try_recv().ok());
                let leave = std::iter::once(first).chain(more).find_map(|input| match input {
                    Input::Resized | Input::Key(Key::Redraw) => {
                        // What it shows now is not known.
                        let _ = screen.clear();
                        None
                    }
                    Input::Key(key) => model.key(key),
                });
                match leave {
                    Some(Leave::Done) => break 0,
                    Some(Leave::Interrupted) => break status::signal(2),
                    None => {}
                }
                reading = model.wanted_log().map(|(host, job, text)| match reading.take() {
                    Some((open, read)) if Rc::ptr_eq(&open, text) => (open, read),
                    _ => {
                        let (fleet, chosen) = (Arc::clone(&fleet), chosen[host].clone());
                        (text.clone(), Box::pin(read(fleet, chosen, job, text.clone())) as _)
                    }
                });
                is_old = true;
            }
            Some((number, None)) = pool.ended() => {
                model.heard(number, Look::mistake(), since_boot());
                is_old = true;
            }
            never = read_on(&mut reading) => match never {},
            _ = ticks.tick() => {
                // Taken together, so that not every answer wakes this thread.
                while let Ok((number, look)) = told.try_recv() {
                    model.heard(number, look, since_boot());
                    is_old = true;
                }
                is_old |= reading.is_some();
                is_old |= drawn.is_none_or(|drawn| drawn.elapsed() >= REDRAW);
            }
        }
        if is_old {
            let warning = context.outages.kept();
            let around = Surroundings {
                now: since_boot(),
                every,
                warning: warning.as_deref(),
                has_colors: screen.has_colors(),
            };
            let done = screen.draw(|buffer| view::draw(&mut model, buffer, &around));
            if done.map_err(failed("draw on the terminal"))? {
                (drawn, is_old) = (Some(Instant::now()), false);
            }
        }
    };
    screen.leave().await;
    context.outages.no_screen();
    Ok(status)
}

/// What is typed next; never, without a keyboard.
async fn next(input: &mut Receiver<Input>) -> Input {
    match input.recv().await {
        Some(input) => input,
        None => pending().await,
    }
}

/// Reads on, if something is read. Cancel-safe.
async fn read_on(reading: &mut Option<Reading>) -> Infallible {
    match reading {
        Some((_, reading)) => reading.await,
        None => pending().await,
    }
}

/// Reads a job's output, follows it to its end, and then waits forever.
async fn read(fleet: Arc<Fleet>, chosen: Chosen, job: JobId, text: SharedLog) -> Infallible {
    let end = match fleet.host(&chosen) {
        Ok(handle) => read_from(&handle, job, &text).await,
        Err(error) => error.line(),
    };
    text.borrow_mut().end(end);
    pending().await
}

/// Returns how it ended.
async fn read_from(handle: &HostHandle, job: JobId, text: &SharedLog) -> String {
    let log = Log::new(LogStream(text.clone(), 0), LogStream(text.clone(), 1));
    let mut all_keys = false;
    loop {
        let wanted = Wanted { job, start: Start::Lines(LINES), follow: true, all_keys };
        match log.read(handle, None, &wanted, |_, _| {}).await {
            Ok(state) => return jobs::state(state),
            // It is the job of another key, which a key with the verb `keys` may read.
            Err(LogsError::Broken(Broken::Failed(failure)))
                if !all_keys && matches!(failure.cause, Cause::NoSuchJob { .. }) =>
            {
                all_keys = true;
            }
            Err(error) => return CliError::from(error).line(),
        }
    }
}
