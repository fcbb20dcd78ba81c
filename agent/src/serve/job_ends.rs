//! Looks for the ends of jobs that no session follows, as long as there are any.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::core::Agent;

/// How often to look.
const LOOK: Duration = Duration::from_millis(500);

/// Writes the ends of jobs into the audit as they come. Never returns.
pub(super) async fn watch(agent: Arc<Agent>) {
    loop {
        agent.job_ends.any().await;
        let writing = Arc::clone(&agent);
        // The panic hook logs what goes wrong in there.
        let _ = spawn_blocking(move || writing.job_ends.write(&writing.jobs, &writing.audit)).await;
        sleep(LOOK).await;
    }
}
