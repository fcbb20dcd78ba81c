//! What ends a transfer before its end: its time is over, or a signal came.
//!
//! What was being received is given up in order then: what is complete gets its name, and nothing is left
//! that nobody can go on with. A second signal does not wait for that.

use std::future::pending;
use std::time::Duration;

use lariat_client::run::Signals;
use tokio::time::{sleep, timeout};

use crate::fanout::Outlet;
use crate::runtime::block_on;
use crate::status;

/// How long it may take to give a transfer up in order.
const LET_GO: Duration = Duration::from_secs(5);

/// What sends a signal may send it twice at once, to the process and to its group, as timeout(1) does: that
/// is one.
const SAME: Duration = Duration::from_millis(500);

/// Why the transfer ended early.
pub(super) enum Early {
    /// The transfer took longer than this.
    TimeOver(Duration),
    /// A signal of this number came.
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
        // Where they can't be heeded they end this process, as they always do.
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

/// Ends this process with the next signal, or when its time is over.
fn leave_after(number: u8) {
    // Without the thread it takes as long as it takes.
    let _ = std::thread::Builder::new().name("leave".to_owned()).spawn(move || {
        std::thread::sleep(SAME);
        let number = block_on(async {
            let Ok(mut signals) = Signals::new() else { return pending().await };
            Ok(timeout(LET_GO, signals.next()).await.unwrap_or(number))
        });
        std::process::exit(status::signal(number.unwrap_or_default()).into());
    });
}
