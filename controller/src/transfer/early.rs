//! Ends a transfer early, after its time limit or a signal.
//!
//! The receiver shuts down in order: complete files get their names, and unusable partials are removed. A
//! second signal does not wait for that.

use std::future::pending;
use std::time::Duration;

use lariat_client::run::Signals;
use tokio::time::{sleep, timeout};

use crate::fanout::Outlet;
use crate::runtime::block_on;
use crate::status;

/// Time limit for shutting down a transfer.
const LET_GO: Duration = Duration::from_secs(5);

/// Signals within this time count as one, because timeout(1) sends one to the process and to its group.
const SAME: Duration = Duration::from_millis(500);

/// Why a transfer ends early.
pub(super) enum Early {
    /// The time limit was exceeded.
    TimeOver(Duration),
    /// This signal was received.
    Signal(u8),
}

/// Resolves when a transfer must end.
pub(super) async fn early_end(limit: Option<Duration>, outlet: &Outlet) -> Early {
    let over = async {
        match limit {
            Some(limit) => {
                sleep(limit).await;
                Early::TimeOver(limit)
            }
            None => pending().await,
        }
    };
    let signal = async {
        // If signals can't be handled they keep their default action.
        let Ok(mut heeded) = outlet.signals() else { return pending().await };
        let number = heeded.next().await;
        if let Outlet::Own { .. } = outlet {
            leave_after(number);
        }
        Early::Signal(number)
    };
    tokio::select! {
        over = over => over,
        signal = signal => signal,
    }
}

/// Exits on the next signal, or after the time limit.
fn leave_after(number: u8) {
    // If the thread can't be started, there is no limit.
    let _ = std::thread::Builder::new().name("leave".to_owned()).spawn(move || {
        std::thread::sleep(SAME);
        let number = block_on(async {
            let Ok(mut signals) = Signals::new() else { return pending().await };
            Ok(timeout(LET_GO, signals.next()).await.unwrap_or(number))
        });
        std::process::exit(status::signal(number.unwrap_or_default()).into());
    });
}
