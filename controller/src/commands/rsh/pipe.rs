//! `-W`: this process's stdin and stdout are a connection from the host.

use std::io;
use std::pin::Pin;
use std::process::ExitCode;
use std::task::{Context as TaskContext, Poll, ready};

use lariat_client::HostHandle;
use lariat_client::forward::Pool;
use rustix::net::Shutdown;
use rustix::stdio::{dup2_stdout, stdout};
use tokio::io::AsyncWrite;

use crate::error::CliError;
use crate::forward::{Place, open};
use crate::stdio::{LocalOutput, Stdin};

/// Connects to a place from the host, and carries bytes until both directions have ended.
pub(super) async fn run(
    handle: HostHandle,
    to: &Place,
    user: Option<&str>,
) -> Result<ExitCode, CliError> {
    let failed = |what| move |error: io::Error| CliError::from(error).during(what);
    let pool = Pool::new(handle);
    let opened = open(&pool, to, user).await?;
    let stdin = Stdin::new().map_err(failed("read stdin"))?;
    let stdout = Stdout(Some(LocalOutput::stdout().map_err(failed("write stdout"))?));
    let (_, result) = pool.carry(opened, (stdin, stdout)).await;
    result.map_err(|error| {
        CliError::from(error).during(format!("{} to {to}", pool.host().place()))
    })?;
    pool.leave().await;
    Ok(ExitCode::SUCCESS)
}

/// Stdout, which ends where the connection does: who reads it may wait for that before it ends stdin.
struct Stdout(Option<LocalOutput>);

impl AsyncWrite for Stdout {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Some(output) => Pin::new(output).poll_write(cx, bytes),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Some(output) => Pin::new(output).poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        if self.0.take().is_some() {
            // A socket may be stdin too, and stays open for that.
            let _ = rustix::net::shutdown(stdout(), Shutdown::Write);
            dup2_stdout(std::fs::File::open("/dev/null")?)?;
        }
        Poll::Ready(Ok(()))
    }
}
