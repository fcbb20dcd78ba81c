//! Runs a verb on many hosts, from the first to the summary: the schedule picks the next host, the worker pool
//! does the work, the ledger and the screen record the results.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lariat_base::lock::lock;
use lariat_base::name::HostName;
use lariat_client::run::{ABANDON, Relay, SIGTERM, Signals};
use tokio::time::{Instant as Deadline, MissedTickBehavior, interval, sleep_until};

use super::ended::summary;
use super::schedule::Schedule;
use super::screen::Screen;
use super::worker_pool::{Begin, HostOutcome, Work, WorkerPool};
use super::{End, Ended, Entry, HostContext, HostWork, Ledger, Limits, Outlet, Plan};
use crate::context::Context;
use crate::error::CliError;
use crate::fleet::Fleet;
use crate::output::style::{self, Paint};
use crate::progress::{self, Meter};
use crate::status;
use crate::target::Chosen;

/// How long hosts may take to detach before they are abandoned.
const LEAVE: Duration = Duration::from_secs(1);

/// A verb on many hosts.
pub(crate) struct Fanout<'a> {
    context: &'a Context,
    hosts: Vec<Chosen>,
    limits: Limits,
    /// The ledger, as long as it can be written.
    ledger: Option<Ledger>,
    /// The terminal output.
    pub(crate) screen: Screen,
    /// How far each host has come.
    meters: Arc<[Meter]>,
    /// Forwards signals to the hosts.
    pub(crate) relay: Arc<Relay>,
    /// Errors are in the results only.
    quiet: bool,
    /// The work only queries hosts, so nothing has to be ended there: signals end this process.
    asks: bool,
    /// Prints a summary line at the end.
    sums_up: bool,
    /// Hosts that ended in an earlier part of the same verb.
    earlier: Vec<(HostName, End)>,
}

/// What a host's work printed, and its result.
type Reported = (Vec<u8>, Ended);

/// A verb's work without its types, so that the fan-out is compiled once and not for each verb.
trait Totaled {
    fn nothing(&self, host: &HostName, error: &CliError) -> Result<Vec<u8>, CliError>;
    fn sum(&self, took: Duration) -> Option<String>;
    fn over(&self, screen: &Screen) -> Option<CliError>;
}

/// A verb's work and its total so far.
struct Totaling<W: HostWork> {
    work: Arc<W>,
    total: Mutex<W::Total>,
}

impl<W: HostWork> Totaled for Totaling<W> {
    fn nothing(&self, host: &HostName, error: &CliError) -> Result<Vec<u8>, CliError> {
        self.work.nothing(host, error)
    }

    fn sum(&self, took: Duration) -> Option<String> {
        self.work.sum(&lock(&self.total), took)
    }

    fn over(&self, screen: &Screen) -> Option<CliError> {
        self.work.over(&mut lock(&self.total), screen)
    }
}

/// The state of a fan-out.
struct State<'a> {
    fanout: Fanout<'a>,
    work: &'a dyn Totaled,
    schedule: Schedule,
    /// When each host began.
    began: Vec<Instant>,
    ends: Vec<Option<End>>,
    started: Instant,
    ending: Ending,
    /// The first signal that was received.
    came: Option<u8>,
    /// Output can't be written for a reason other than a closed pipe.
    full: bool,
}

/// Whether the fan-out ends early.
#[derive(Clone, Copy)]
enum Ending {
    No,
    /// The hosts were asked to end their work.
    Asked(Option<Deadline>),
    /// The hosts were told to detach.
    Told(Deadline),
}

impl<'a> Fanout<'a> {
    /// Starts a fan-out with a new ledger. If the ledger can't be written it only warns, because the work
    /// matters more. Requires a runtime.
    pub(crate) fn new(
        context: &'a Context,
        plan: &Plan,
        hosts: Vec<Chosen>,
        limits: Limits,
        quiet: bool,
    ) -> Result<Self, CliError> {
        let begun = context.home().and_then(|home| Ledger::begin(&home, plan));
        let mut fanout = Self { quiet, sums_up: true, ..Self::bare(context, hosts, limits)? };
        match begun {
            Ok(ledger) => fanout.ledger = Some(ledger),
            Err(error) => fanout.not_written(&error),
        }
        Ok(fanout)
    }

    /// Stops recording, with a warning.
    fn not_written(&mut self, error: &CliError) {
        let what = "warning: --retry-failed will know nothing of this";
        let line = error.clone().during(what).told(self.context.verbose);
        self.screen.stderr.put(self.paint().error(&line).as_bytes());
        self.ledger = None;
    }

    /// A fan-out that only queries hosts. It is not recorded, so that the ledger keeps the last one that
    /// changed something, and a signal ends this process. Requires a runtime.
    pub(crate) fn look(
        context: &'a Context,
        hosts: Vec<Chosen>,
        limits: Limits,
        quiet: bool,
    ) -> Result<Self, CliError> {
        Ok(Self { sums_up: true, ..Self::search(context, hosts, limits, quiet)? })
    }

    /// A search for the hosts of another verb: only failures are reported.
    pub(crate) fn search(
        context: &'a Context,
        hosts: Vec<Chosen>,
        limits: Limits,
        quiet: bool,
    ) -> Result<Self, CliError> {
        Ok(Self { asks: true, quiet, ..Self::bare(context, hosts, limits)? })
    }

    /// Counts hosts that ended in an earlier part of the verb, such as a search, in the summary and the status.
    pub(crate) fn after(self, earlier: Vec<(HostName, End)>) -> Self {
        Self { earlier, ..self }
    }

    fn bare(context: &'a Context, hosts: Vec<Chosen>, limits: Limits) -> Result<Self, CliError> {
        let meters: Arc<[Meter]> = hosts.iter().map(|_| Meter::default()).collect();
        let screen = Screen::new(&meters, &context.outages);
        let screen = screen.map_err(|e| CliError::from(e).during("write output"))?;
        let relay = Arc::new(Relay::default());
        let (quiet, asks, sums_up) = (false, false, false);
        let (ledger, earlier) = (None, Vec::new());
        Ok(Self {
            context,
            hosts,
            limits,
            ledger,
            screen,
            meters,
            relay,
            quiet,
            asks,
            sums_up,
            earlier,
        })
    }

    /// Colors for stderr.
    fn paint(&self) -> Paint {
        Paint(self.screen.stderr.has_colours())
    }

    /// The outlet of each host's work.
    pub(crate) fn outlet(&self) -> Outlet {
        let Screen { stdout, stderr, .. } = &self.screen;
        let (stdout, stderr) = (stdout.clone(), stderr.clone());
        Outlet::Shared { stdout, stderr, relay: Arc::clone(&self.relay) }
    }

    /// Does `work` on every host, in worker threads, and reports the results. Returns the exit status and the
    /// total.
    pub(crate) async fn run<W: HostWork>(
        self,
        fleet: Arc<Fleet>,
        work: Arc<W>,
    ) -> Result<(u8, W::Total), CliError> {
        // A signal that ends this process would leave the progress on the screen.
        let dies = self.asks && !self.screen.has_progress();
        let signals = if dies { Ok(Signals::none()) } else { Signals::new() };
        let signals = signals.map_err(|e| CliError::from(e).during("wait for signals"))?;
        let total = self.hosts.len();
        let totaling = Totaling { work, total: Mutex::default() };
        let meters = Arc::clone(&self.meters);
        let all = Arc::new((fleet, self.hosts.clone(), totaling, self.outlet(), meters));
        let shared = Arc::clone(&all);
        let begin = move |number: usize| -> Work<Reported> {
            let all = Arc::clone(&shared);
            Box::pin(async move {
                let (fleet, hosts, Totaling { work, total }, outlet, meters) = &*all;
                let (chosen, meter) = (&hosts[number], &meters[number]);
                let outcome = match fleet.host(chosen) {
                    Ok(handle) => {
                        work.on(HostContext { number, chosen, handle, outlet, meter }).await
                    }
                    Err(error) => Err(error.into()),
                };
                work.report(&mut lock(total), &chosen.host, outcome)
            })
        };
        let begin: Arc<Begin<_>> = Arc::new(begin);
        let pool = WorkerPool::start(total.min(self.limits.parallel), &begin)
            .map_err(|e| CliError::from(e).during("start threads"))?;
        let (_, hosts, totaling, outlet, _) = &*all;
        let state = State::new(self, totaling);
        let beside = Box::pin(totaling.work.beside(hosts, outlet));
        let status = state.run_beside(beside, pool, signals).await?;
        Ok((status, std::mem::take(&mut *lock(&totaling.total))))
    }
}

impl<'a> State<'a> {
    fn new(fanout: Fanout<'a>, work: &'a dyn Totaled) -> Self {
        let total = fanout.hosts.len();
        Self {
            schedule: Schedule::new(total, fanout.limits),
            fanout,
            work,
            began: Vec::with_capacity(total),
            ends: vec![None; total],
            started: Instant::now(),
            ending: Ending::No,
            came: None,
            full: false,
        }
    }

    /// Runs to the end, and `beside` meanwhile.
    async fn run_beside(
        self,
        beside: Pin<Box<dyn Future<Output = Infallible> + '_>>,
        pool: WorkerPool<Reported>,
        signals: Signals,
    ) -> Result<u8, CliError> {
        tokio::select! {
            done = self.run(pool, signals) => done,
            never = beside => match never {},
        }
    }

    async fn run(
        mut self,
        mut pool: WorkerPool<Reported>,
        mut signals: Signals,
    ) -> Result<u8, CliError> {
        let mut ticks = interval(progress::EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            while let Some(number) = self.schedule.start() {
                self.begins(number);
                pool.begin(number);
            }
            if self.schedule.is_over() {
                break;
            }
            let screen = &self.fanout.screen;
            let broken = async {
                tokio::select! { () = screen.stdout.broken() => {}, () = screen.stderr.broken() => {} }
            };
            let heeds = matches!(self.ending, Ending::No | Ending::Asked(None)) && !self.full;
            tokio::select! {
                biased;
                signal = signals.next() => {
                    if self.fanout.asks {
                        self.fanout.screen.clear();
                        return Ok(status::signal(signal));
                    }
                    self.interrupted(signal);
                }
                () = broken, if heeds => self.no_reader(),
                () = due(self.ending) => match self.ending {
                    Ending::Told(_) => break,
                    _ => self.end(SIGTERM),
                },
                came = pool.ended() => match came {
                    Some(came) => self.ended(came),
                    None => break,
                },
                _ = ticks.tick(), if self.fanout.screen.has_progress() => self.fanout.screen.tick(),
            }
        }
        self.finish(&mut signals).await
    }

    fn begins(&mut self, number: usize) {
        let Fanout { hosts, screen, ledger, .. } = &mut self.fanout;
        self.began.push(Instant::now());
        let host = &hosts[number].host;
        screen.began(number, host);
        let written = ledger.as_mut().map(|ledger| ledger.begun(host));
        self.written(written);
    }

    /// Handles a failure to record: the work continues without the ledger.
    fn written(&mut self, written: Option<Result<(), CliError>>) {
        if let Some(Err(error)) = written {
            self.fanout.not_written(&error);
        }
    }

    /// Handles a signal: the first ends the commands, the second this process.
    fn interrupted(&mut self, signal: u8) {
        self.came.get_or_insert(signal);
        self.end(signal);
    }

    fn end(&mut self, signal: u8) {
        self.schedule.stop();
        self.fanout.relay.send(signal);
        self.ending = match self.ending {
            Ending::No => Ending::Asked(None),
            Ending::Asked(_) => Ending::Told(Deadline::now() + LEAVE),
            Ending::Told(_) => Ending::Told(Deadline::now()),
        };
    }

    /// Handles a failure of stdout. If the reader is gone, hosts are ended, as a pipe would do. For another
    /// reason, such as a full disk, work that has begun on hosts continues to its end.
    fn no_reader(&mut self) {
        self.schedule.stop();
        let Screen { stdout, stderr, .. } = &self.fanout.screen;
        if !stdout.has_no_reader() && !stderr.has_no_reader() {
            self.full = true;
            return;
        }
        self.fanout.relay.send(SIGTERM);
        self.ending = Ending::Asked(Some(Deadline::now() + ABANDON));
    }

    fn ended(&mut self, (number, came): HostOutcome<Reported>) {
        let Fanout { hosts, screen, .. } = &self.fanout;
        let host = &hosts[number].host;
        let ended = if let Some((result, ended)) = came {
            screen.stdout.put(&result);
            ended
        } else {
            let error = CliError::new("a mistake in lariat itself").during(host);
            self.nothing(number, &error);
            Ended::failed(End::Errored, error)
        };
        let paint = self.fanout.paint();
        let Fanout { hosts, screen, context, quiet, ledger, .. } = &mut self.fanout;
        let host = &hosts[number].host;
        self.schedule.ended(ended.end == End::Ok);
        self.ends[number] = Some(ended.end);
        screen.ended(number, ended.end == End::Ok);
        for note in ended.notes.iter().filter(|_| !style::is_quiet()) {
            screen.stderr.put(format!("{note}\n").as_bytes());
        }
        if !*quiet {
            // If the reader is gone, a command that was ended for that needs no report.
            let said =
                ended.said.as_ref().filter(|_| !matches!(self.ending, Ending::Asked(Some(_))));
            let said = said.map(|said| paint.failed(&format!("{host}: {said}")) + "\n");
            let errors = ended.errors.iter().map(|error| paint.error(&error.told(context.verbose)));
            said.into_iter().chain(errors).for_each(|line| screen.stderr.put(line.as_bytes()));
        }
        let entry = Entry {
            host: host.clone(),
            end: ended.end,
            exit: ended.exit,
            seconds: self.began[number].elapsed().as_secs_f64(),
            error: ended.why(),
        };
        let written = ledger.as_mut().map(|ledger| ledger.ended(&entry));
        self.written(written);
    }

    /// Writes the object of a host without an outcome, if objects are written.
    fn nothing(&self, number: usize, error: &CliError) {
        let Fanout { hosts, screen, quiet, .. } = &self.fanout;
        // Such an object can always be encoded as JSON.
        if *quiet && let Ok(line) = self.work.nothing(&hosts[number].host, error) {
            screen.stdout.put(&line);
        }
    }

    /// Flushes all output, and prints the summary. Returns the exit status.
    async fn finish(&mut self, signals: &mut Signals) -> Result<u8, CliError> {
        // Hosts that began and did not end were abandoned; the others were not started.
        let begun = self.schedule.not_started().start;
        let ends = self.ends.iter().enumerate().map(|(number, end)| {
            end.unwrap_or(if number < begun { End::Unfinished } else { End::NotStarted })
        });
        let ends: Vec<End> = ends.collect();
        for number in (0..ends.len()).filter(|&number| self.ends[number].is_none()) {
            self.nothing(number, &ends[number].error());
        }
        let took = self.started.elapsed();
        let named = self.fanout.hosts.iter().map(|chosen| &chosen.host).zip(ends.iter().copied());
        let earlier = || self.fanout.earlier.iter().map(|(host, end)| (host, *end));
        let named = named.chain(earlier());
        let paint = self.fanout.paint();
        let line = summary(named, took, self.work.sum(took), paint);
        self.fanout.screen.clear();
        let wrong = self.work.over(&self.fanout.screen);
        let last = match &wrong {
            Some(error) => paint.error(&error.told(self.fanout.context.verbose)),
            None if self.fanout.sums_up && !style::is_quiet() => format!("{line}\n"),
            None => String::new(),
        };
        let Screen { stdout, stderr, .. } = &self.fanout.screen;
        let written = async {
            stdout.flushed().await;
            stderr.put(last.as_bytes());
            stderr.flushed().await;
        };
        tokio::select! {
            () = written => {}
            signal = signals.next() => return Ok(status::signal(signal)),
        }
        for (stream, printer) in [("stdout", stdout), ("stderr", stderr)] {
            match printer.take_error() {
                Some(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    return Ok(status::NO_READER);
                }
                Some(error) => {
                    CliError::from(error).during(format!("write {stream}")).report(false);
                    return Ok(status::FAILURE);
                }
                None => {}
            }
        }
        let wrong = wrong.map(|error| error.end());
        let ends = ends.into_iter().chain(earlier().map(|(_, end)| end)).chain(wrong);
        Ok(status::of_several(ends, self.came))
    }
}

/// Resolves when the next step of an early end is due.
async fn due(ending: Ending) {
    match ending {
        Ending::No | Ending::Asked(None) => std::future::pending().await,
        Ending::Asked(Some(at)) | Ending::Told(at) => sleep_until(at).await,
    }
}
