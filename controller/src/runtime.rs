//! The single-threaded runtime of a verb's network work.
//!
//! The work mostly waits, and starting a thread pool would take most of the time of a short command.

use tokio::runtime::Builder;

use crate::error::CliError;

/// Runs `work` to its end. Blocking tasks, such as name resolution, are abandoned.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    let runtime = Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(|e| CliError::from(e).during("start"))?;
    let result = runtime.block_on(work);
    runtime.shutdown_background();
    result
}
