//! A question to many hosts: each is reached and asked by itself.

use std::process::ExitCode;
use std::sync::Arc;

use lariat_client::HostHandle;

use super::{Failed, Fanout, Report, Work};
use crate::error::CliError;
use crate::fleet::Fleet;
use crate::target::Chosen;

impl Fanout<'_> {
    /// Asks every host; the question gets its number and its handle.
    pub(crate) async fn ask<T, Q, R>(
        self,
        fleet: Arc<Fleet>,
        hosts: Vec<Chosen>,
        question: Q,
        report: R,
    ) -> Result<ExitCode, CliError>
    where
        T: Send + 'static,
        Q: AsyncFn(usize, &HostHandle) -> Result<T, Failed> + Send + Sync + 'static,
        R: Report<Outcome = Result<T, Failed>>,
    {
        let (all, relay) = (Arc::new((fleet, hosts, question)), Arc::clone(&self.relay));
        let begin = move |number: usize| -> Work<Result<T, Failed>> {
            let (all, mut signals) = (Arc::clone(&all), relay.signals());
            Box::pin(async move {
                let (fleet, hosts, question) = &*all;
                let handle = fleet.host(&hosts[number])?;
                tokio::select! {
                    answer = question(number, &handle) => answer,
                    _ = signals.next() => Err(Failed::interrupted()),
                }
            })
        };
        self.run(begin, report).await
    }
}
