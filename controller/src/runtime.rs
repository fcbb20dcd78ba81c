//! The one thread that a verb's network work runs on.
//!
//! Hosts are waited for, not computed for; a start without a pool of threads is most of why a
//! command is back before ssh has begun.

use tokio::runtime::Builder;

use crate::error::CliError;

/// Runs `work` to its end. What it left undone (a look-up of a name, say) is not waited for.
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
