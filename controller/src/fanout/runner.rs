//! A verb over many hosts, from the first to the summary: the schedule says who is next, the worker pool does
//! it, the ledger and the screen are told.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lariat_client::run::{ABANDON, Relay, SIGTERM, Signals};
use tokio::time::{Instant as Deadline, interval, sleep_until};

use super::ended::summary;
use super::schedule::Schedule;
use super::screen::{Screen, TICK};
use super::worker_pool::{Begin, HostOutcome, Work, WorkerPool};
use super::{End, Ended, Entry, Failed, HostContext, HostWork, Ledger, Limits, Outlet, Plan};
use crate::context::Context;
use crate::error::CliError;
use crate::fleet::Fleet;
use crate::output::style;
use crate::status;
use crate::target::Chosen;

/// How long hosts that are told to let go may take before they are left as they are.
const LEAVE: Duration = Duration::from_secs(1);

/// A verb over many hosts.
pub(crate) struct Fanout<'a> {
    context: &'a Context,
    hosts: Vec<Chosen>,
    limits: Limits,
    /// Where it is written down, as long as it can be.
    ledger: Option<Ledger>,
    /// Where it is seen.
    pub(crate) screen: Screen,
    /// Signals go on to the hosts through this.
    pub(crate) relay: Arc<Relay>,
    /// Errors are in the results, and told nowhere else.
    quiet: bool,
    /// Nothing is under way on the hosts that has to be ended: signals stay this process's own end.
    asks: bool,
    /// A summary line is printed at the end.
    sums_up: bool,
}

/// Where it stands.
struct State<'a, W: HostWork> {
    fanout: Fanout<'a>,
    work: Arc<W>,
    total: W::Total,
    schedule: Schedule,
    /// When each that has begun did so.
    began: Vec<Instant>,
    ends: Vec<Option<End>>,
    started: Instant,
    ending: Ending,
    /// The first signal that came.
    came: Option<u8>,
    /// Output can't be written any more, though whoever reads it has not gone away.
    full: bool,
}

/// Whether it is to end early.
#[derive(Clone, Copy)]
enum Ending {
    No,
    /// The hosts were asked to end what they do.
    Asked(Option<Deadline>),
    /// They were told to let go.
    Told(Deadline),
}

impl<'a> Fanout<'a> {
    /// Begins its ledger; one that can't be written is only warned of, for the hosts matter more. Needs a
    /// runtime around it.
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

    /// Nothing more is written down of it.
    fn not_written(&mut self, error: &CliError) {
        let what = "warning: --retry-failed will know nothing of this";
        let line = error.clone().during(what).told(self.context.verbose);
        self.screen.stderr.put(line.as_bytes());
        self.ledger = None;
    }

    /// One that only looks, and is not written down: the newest that did something stays the newest. A
    /// signal ends this process, as it would without us. Needs a runtime around it.
    pub(crate) fn look(
        context: &'a Context,
        hosts: Vec<Chosen>,
        limits: Limits,
        quiet: bool,
    ) -> Result<Self, CliError> {
        Ok(Self { quiet, sums_up: true, ..Self::search(context, hosts, limits)? })
    }

    /// A search on the way to something else: only failures are reported.
    pub(crate) fn search(
        context: &'a Context,
        hosts: Vec<Chosen>,
        limits: Limits,
    ) -> Result<Self, CliError> {
        Ok(Self { asks: true, ..Self::bare(context, hosts, limits)? })
    }

    fn bare(context: &'a Context, hosts: Vec<Chosen>, limits: Limits) -> Result<Self, CliError> {
        let screen = Screen::new(hosts.len(), &context.outages);
        let screen = screen.map_err(|e| CliError::from(e).during("write output"))?;
        let relay = Arc::new(Relay::default());
        let (quiet, asks, sums_up) = (false, false, false);
        Ok(Self { context, hosts, limits, ledger: None, screen, relay, quiet, asks, sums_up })
    }

    /// Where the work on each of the hosts shows its results.
    pub(crate) fn outlet(&self) -> Outlet {
        let Screen { stdout, stderr, .. } = &self.screen;
        let (stdout, stderr) = (stdout.clone(), stderr.clone());
        Outlet::Shared { stdout, stderr, relay: Arc::clone(&self.relay) }
    }

    /// Does `work` on every host, on threads of its own, and reports what comes of it. Returns the exit status
    /// and the total.
    pub(crate) async fn run<W: HostWork>(
        self,
        fleet: Arc<Fleet>,
        work: Arc<W>,
    ) -> Result<(u8, W::Total), CliError> {
        let signals = if self.asks { Ok(Signals::none()) } else { Signals::new() };
        let signals = signals.map_err(|e| CliError::from(e).during("wait for signals"))?;
        let total = self.hosts.len();
        let all = Arc::new((fleet, self.hosts.clone(), Arc::clone(&work), self.outlet()));
        let shared = Arc::clone(&all);
        let begin = move |number: usize| -> Work<Result<W::Outcome, Failed>> {
            let all = Arc::clone(&shared);
            Box::pin(async move {
                let (fleet, hosts, work, outlet) = &*all;
                let (chosen, handle) = (&hosts[number], fleet.host(&hosts[number])?);
                work.on(HostContext { number, chosen, handle, outlet }).await
            })
        };
        let begin: Arc<Begin<_>> = Arc::new(begin);
        let pool = WorkerPool::start(total.min(self.limits.parallel), &begin)
            .map_err(|e| CliError::from(e).during("start threads"))?;
        let state = State {
            schedule: Schedule::new(total, self.limits),
            fanout: self,
            work,
            total: W::Total::default(),
            began: Vec::with_capacity(total),
            ends: vec![None; total],
            started: Instant::now(),
            ending: Ending::No,
            came: None,
            full: false,
        };
        let (_, hosts, work, outlet) = &*all;
        tokio::select! {
            done = state.run(pool, signals) => done,
            never = work.beside(hosts, outlet) => match never {},
        }
    }
}

impl<W: HostWork> State<'_, W> {
    async fn run(
        mut self,
        mut pool: WorkerPool<Result<W::Outcome, Failed>>,
        mut signals: Signals,
    ) -> Result<(u8, W::Total), CliError> {
        let mut ticks = interval(TICK);
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
                signal = signals.next() => self.interrupted(signal),
                () = broken, if heeds => self.no_reader(),
                () = due(self.ending) => match self.ending {
                    Ending::Told(_) => break,
                    _ => self.end(SIGTERM),
                },
                came = pool.ended() => match came {
                    Some(came) => self.ended(came),
                    None => break,
                },
                _ = ticks.tick(), if self.fanout.screen.has_bars() => self.fanout.screen.tick(),
            }
        }
        let status = self.finish(&mut signals).await?;
        Ok((status, self.total))
    }

    fn begins(&mut self, number: usize) {
        let Fanout { hosts, screen, ledger, .. } = &mut self.fanout;
        self.began.push(Instant::now());
        let host = &hosts[number].host;
        screen.began(number, host);
        let written = ledger.as_mut().map(|ledger| ledger.begun(host));
        self.written(written);
    }

    /// The hosts matter more than what is written down of them.
    fn written(&mut self, written: Option<Result<(), CliError>>) {
        if let Some(Err(error)) = written {
            self.fanout.not_written(&error);
        }
    }

    /// Ctrl-C: the first is for the commands, the second for us.
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

    /// Nobody reads what the hosts say: as a pipe would, it ends them. Where it can't be written for another
    /// reason, such as a full disk, what runs goes on to its end: that is the host's matter, and not ours.
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

    fn ended(&mut self, (number, came): HostOutcome<Result<W::Outcome, Failed>>) {
        let Fanout { hosts, screen, .. } = &self.fanout;
        let host = &hosts[number].host;
        let ended = if let Some(came) = came {
            let (result, ended) = self.work.report(&mut self.total, host, came);
            screen.stdout.put(&result);
            ended
        } else {
            let error = CliError::new("a mistake in lariat itself").during(host);
            self.nothing(number, &error);
            Ended::failed(End::Errored, error)
        };
        let Fanout { hosts, screen, context, quiet, ledger, .. } = &mut self.fanout;
        let host = &hosts[number].host;
        self.schedule.ended(ended.end == End::Ok);
        self.ends[number] = Some(ended.end);
        screen.ended(number, ended.end == End::Ok);
        for note in ended.notes.iter().filter(|_| !style::is_quiet()) {
            screen.stderr.put(format!("{note}\n").as_bytes());
        }
        if !*quiet {
            // Where nobody reads any more, it is no news that a command was ended for that.
            let said =
                ended.said.as_ref().filter(|_| !matches!(self.ending, Ending::Asked(Some(_))));
            let said = said.map(|said| format!("{host}: {said}\n"));
            let errors = ended.errors.iter().map(|error| error.told(context.verbose));
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

    /// Writes the object of a host without an outcome, if there are objects.
    fn nothing(&self, number: usize, error: &CliError) {
        let Fanout { hosts, screen, quiet, .. } = &self.fanout;
        // There is nothing in it that could not be written as JSON.
        if *quiet && let Ok(line) = self.work.nothing(&hosts[number].host, error) {
            screen.stdout.put(&line);
        }
    }

    /// Everything is written, and told in one line. Returns the exit status.
    async fn finish(&mut self, signals: &mut Signals) -> Result<u8, CliError> {
        // What has begun and not ended was left; what has not begun was not started.
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
        let line = summary(named, took, self.work.sum(&self.total, took));
        self.fanout.screen.clear();
        let wrong = self.work.over(&mut self.total, &self.fanout.screen);
        let last = match &wrong {
            Some(error) => error.told(self.fanout.context.verbose),
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
        let ends = ends.into_iter().chain(wrong);
        Ok(status::of_several(ends, self.came))
    }
}

/// When the next step of an early end is due.
async fn due(ending: Ending) {
    match ending {
        Ending::No | Ending::Asked(None) => std::future::pending().await,
        Ending::Asked(Some(at)) | Ending::Told(at) => sleep_until(at).await,
    }
}
