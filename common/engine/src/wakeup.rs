//! Wakes whoever waits for a change of shared state.

use tokio::sync::watch;

/// Announces changes.
pub(crate) struct Wakeup(watch::Sender<()>);

/// Waits for changes.
pub(crate) struct Changes(watch::Receiver<()>);

impl Default for Wakeup {
    fn default() -> Self {
        Self(watch::Sender::new(()))
    }
}

impl Wakeup {
    /// Announces a change that has been made.
    pub(crate) fn changed(&self) {
        self.0.send_replace(());
    }

    /// Notices every change from now on.
    pub(crate) fn changes(&self) -> Changes {
        Changes(self.0.subscribe())
    }
}

impl Changes {
    /// Waits for a change since the last call. Cancel-safe.
    pub(crate) async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            // Nobody is left who could change anything.
            std::future::pending::<()>().await;
        }
    }
}
