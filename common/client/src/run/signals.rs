//! Signals such as Ctrl-C's while a command runs on a host: the first goes to the command, the second ends the
//! client, and so does the first while no command was asked for yet. What comes to this process can be
//! relayed to many commands on other threads.

use std::future::pending;
use std::io;

use tokio::io::AsyncWrite;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::job::Job;

/// The number of SIGHUP.
pub const SIGHUP: u8 = 1;
/// The number of SIGINT.
pub(crate) const SIGINT: u8 = 2;
/// The number of SIGPIPE.
pub(crate) const SIGPIPE: u8 = 13;
/// The number of SIGTERM.
pub const SIGTERM: u8 = 15;

/// SIGINT, SIGTERM and SIGHUP, from now on; the last not under `nohup` and the like, which ignore it.
pub struct Signals {
    source: Source,
    /// One that came.
    came: Option<u8>,
}

enum Source {
    Process { interrupt: Signal, terminate: Signal, hangup: Option<Signal> },
    Relay { told: watch::Receiver<Relayed>, seen: u32 },
}

/// How many signals were relayed, and the last of them.
#[derive(Clone, Copy, Default)]
struct Relayed {
    count: u32,
    number: u8,
}

/// Hands signals on to any number of [`Signals`], on any thread, and to those that come later.
#[derive(Default)]
pub struct Relay(watch::Sender<Relayed>);

impl Relay {
    /// Hands one on.
    pub fn send(&self, number: u8) {
        self.0.send_modify(|told| *told = Relayed { count: told.count.saturating_add(1), number });
    }

    /// What has come and will come.
    pub fn signals(&self) -> Signals {
        let source = Source::Relay { told: self.0.subscribe(), seen: 0 };
        Signals { source, came: None }
    }
}

impl Signals {
    /// Takes over this process's signals. Must be called inside a runtime.
    pub fn new() -> io::Result<Self> {
        let interrupt = signal(SignalKind::interrupt())?;
        let terminate = signal(SignalKind::terminate())?;
        let hangup = (!is_ignored(SIGHUP)).then(|| signal(SignalKind::hangup())).transpose()?;
        Ok(Self { source: Source::Process { interrupt, terminate, hangup }, came: None })
    }

    /// No signals: this process's own keep their default action.
    pub fn none() -> Self {
        Relay::default().signals()
    }

    /// The first one that has come so far.
    pub fn came(&self) -> Option<u8> {
        self.came
    }

    /// The next one. Cancelling it loses nothing.
    pub async fn next(&mut self) -> u8 {
        let number = match &mut self.source {
            Source::Process { interrupt, terminate, hangup } => {
                let hangup = async {
                    match hangup {
                        Some(hangup) => hangup.recv().await,
                        None => pending().await,
                    }
                };
                tokio::select! {
                    _ = interrupt.recv() => SIGINT,
                    _ = terminate.recv() => SIGTERM,
                    _ = hangup => SIGHUP,
                }
            }
            Source::Relay { told, seen } => loop {
                let Relayed { count, number } = *told.borrow_and_update();
                if count > *seen {
                    *seen += 1;
                    break number;
                }
                if told.changed().await.is_err() {
                    // Nobody is left who could send one.
                    pending::<()>().await;
                }
            },
        };
        self.came.get_or_insert(number);
        number
    }

    /// Forwards the first to the command and resolves with the number of the second.
    pub(super) async fn forward<O, E>(&mut self, job: &Job<O, E>) -> u8
    where
        O: AsyncWrite + Unpin,
        E: AsyncWrite + Unpin,
    {
        let mut forwarded = false;
        loop {
            let number = self.next().await;
            if forwarded || !job.may_run() {
                return number;
            }
            forwarded = true;
            job.signal(number);
        }
    }
}

/// Whether this process was started to ignore a signal.
fn is_ignored(number: u8) -> bool {
    // Without /proc nothing says so.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let set = ignored.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or_default();
    set & (1 << (number - 1)) != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_late_hears_what_came_before_and_misses_none() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let relay = Relay::default();
            relay.send(SIGINT);
            let mut signals = relay.signals();
            assert_eq!(signals.next().await, SIGINT);
            relay.send(SIGTERM);
            relay.send(SIGTERM);
            assert_eq!((signals.next().await, signals.next().await), (SIGTERM, SIGTERM));
            assert_eq!(signals.came(), Some(SIGINT));
            let nothing = tokio::select! {
                biased;
                _ = signals.next() => false,
                () = tokio::task::yield_now() => true,
            };
            assert!(nothing);
        });
    }
}
