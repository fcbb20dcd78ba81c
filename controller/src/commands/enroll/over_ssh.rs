//! `lariat enroll --ssh` and `--from`: hosts are enrolled over ssh, and each is logged in to at the end.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lariat_base::name::HostName;
use lariat_client::Address;
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, LocalSet};

use crate::commands::ping::{ms, round_trip};
use crate::context::Context;
use crate::enrollment::{Entry, Installation, Installer, Program, Step, read_list};
use crate::error::CliError;
use crate::fanout::{End, Failed, counts};
use crate::fleet::{Fleet, ReachOptions};
use crate::inventory::Tag;
use crate::key::ControllerKey;
use crate::known_keys::KnownKeys;
use crate::output::json;
use crate::output::style::{self, Paint};
use crate::runtime::block_on;
use crate::ssh::{Place, Ssh};
use crate::via::Via;
use crate::{output, status};

/// Hosts at once.
const AT_ONCE: usize = 16;

/// How long an agent that was just started may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(clap::Args)]
#[group(skip)]
pub(super) struct Options {
    /// The ssh command, with options
    #[arg(long, value_name = "CMD", default_value = "ssh", requires = "remote")]
    ssh_command: String,

    /// Gateways on the way to the new agent: hosts or ssh:[USER@]HOST
    #[arg(
        short = 'J',
        long,
        value_name = "VIA[,VIA]",
        hide_short_help = true,
        requires = "remote"
    )]
    jump: Option<Via>,

    /// lariatd to install [default: beside lariat]
    #[arg(long, value_name = "FILE", requires = "remote")]
    lariatd: Option<PathBuf>,

    /// Show what would be done; change nothing
    #[arg(long, requires = "remote")]
    dry_run: bool,

    /// Print one JSON object per host
    ///
    /// Its fields: host, ok, kind, error, address, changed, steps, seconds.
    #[arg(long, requires = "remote")]
    json: bool,
}

/// The fields that the verb adds to a host's object.
#[derive(Default, Serialize)]
struct Added {
    address: Option<String>,
    changed: bool,
    steps: Vec<&'static str>,
    seconds: Option<f64>,
}

/// Enrolls hosts, and logs in to each.
struct Enrolling {
    installer: Installer,
    fleet: Fleet,
}

/// What was done on a host, and how long its agent took to answer.
struct Done {
    installation: Installation,
    round_trip: Option<Duration>,
}

impl Enrolling {
    fn new(options: &Options, context: &Context, is_one: bool) -> Result<Self, CliError> {
        let home = context.home()?;
        home.require_fleet()?;
        let key = ControllerKey::load(&home, context.key.as_ref())?;
        let jump = options.jump.clone();
        let reach = ReachOptions { reconnect: Some(PATIENCE), jump, ..ReachOptions::default() };
        let installer = Installer {
            ca: home.ca()?,
            key,
            program: Program::load(options.lariatd.as_deref())?,
            ssh: Ssh::new(&options.ssh_command)?,
            dry_run: options.dry_run,
            is_watched: is_one && !options.json && style::progress().is_some(),
            home,
        };
        Ok(Self { installer, fleet: Fleet::load(context, &reach)? })
    }

    async fn on(&self, entry: &Entry, address: Option<&Address>) -> Result<Done, CliError> {
        let installation = self.installer.install(entry, address).await?;
        let by_hand = installation.started_by_hand.is_some();
        let mut done = Done { installation, round_trip: None };
        let Installation { address, enrolled, .. } = &done.installation;
        let Some(enrolled) = enrolled.filter(|_| !self.installer.dry_run) else { return Ok(done) };
        let Some(handle) = self.fleet.new_host(&entry.name, address, enrolled) else {
            return Ok(done);
        };
        let was_started = done.installation.steps.contains(&Step::Start);
        let patience = if was_started { PATIENCE } else { Duration::ZERO };
        match round_trip(&handle.reconnecting(Some(patience))).await {
            Ok(times) => {
                done.round_trip = Some(times.round_trip);
                let moved = self.installer.set_address(&entry.name, address)?;
                done.installation.changed |= moved;
            }
            Err(Failed { end: End::Unreachable, .. }) if by_hand => {}
            Err(failed) => {
                let port = address.port();
                return Err(CliError::from(failed).during("ping").next(format!(
                    "the agent runs: open TCP port {port} in its firewall, or say with --address where it can be reached"
                )));
            }
        }
        Ok(done)
    }

    /// The lines on stdout about a host.
    fn told(&self, name: &HostName, done: &Done) -> String {
        let Done { installation, round_trip } = done;
        let Installation { steps, changed, address, took, .. } = installation;
        if self.installer.dry_run && !steps.is_empty() {
            let would = |step: &Step| format!("{name}: would {}", step.would());
            return steps.iter().map(would).collect::<Vec<_>>().join("\n");
        }
        let ping = round_trip.map(|time| format!(", ping {}", ms(time))).unwrap_or_default();
        if !changed {
            return format!("{name}: unchanged, at {address}{ping}");
        }
        let names: Vec<&str> = steps.iter().map(|step| step.name()).collect();
        let names = if names.is_empty() { "inventory".to_owned() } else { names.join(", ") };
        format!("{name}: enrolled at {address} in {:.1} s ({names}){ping}", took.as_secs_f64())
    }

    /// Prints a host's result. Returns how it ended.
    fn report(
        &self,
        name: &HostName,
        outcome: Result<Done, CliError>,
        json: bool,
        context: &Context,
    ) -> Result<End, CliError> {
        let outcome = outcome.map_err(|error| error.during(format!("enroll {name}")));
        if json {
            let line = match &outcome {
                Ok(done) => json::result(name, End::Ok, None, Added::of(done)),
                Err(error) => json::failure(name, error, Added::default()),
            };
            output::bytes(&line?)?;
        }
        let done = match outcome {
            Ok(done) => done,
            Err(error) => {
                if !json {
                    error.report(context.verbose);
                }
                return Ok(error.end());
            }
        };
        if !json {
            output::line(&self.told(name, &done))?;
        }
        let Installation { notes, started_by_hand, changed, .. } = &done.installation;
        notes.iter().for_each(|note| output::note(&format!("{name}: {note}")));
        if let Some(program) = started_by_hand.filter(|_| done.round_trip.is_none()) {
            output::note(&format!(
                "{name}: there is no systemd there, so nothing starts the agent. As root, now and at each boot: \
                 {program}; then: lariat ping {name}"
            ));
        }
        if *changed && !self.installer.dry_run {
            let known = KnownKeys::load(&self.installer.home)?;
            known.tell_missing(name, &self.installer.key.label);
        }
        Ok(End::Ok)
    }
}

impl Added {
    fn of(Done { installation, .. }: &Done) -> Self {
        Self {
            address: Some(installation.address.to_string()),
            changed: installation.changed,
            steps: installation.steps.iter().map(|step| step.name()).collect(),
            seconds: Some(installation.took.as_secs_f64()),
        }
    }
}

/// Enrolls one host.
pub(super) fn one(
    name: HostName,
    place: Place,
    address: Option<&Address>,
    tags: Vec<Tag>,
    options: &Options,
    context: &Context,
) -> Result<ExitCode, CliError> {
    let during = |error: CliError| error.during(format!("enroll {name}"));
    let enrolling = Enrolling::new(options, context, true).map_err(during)?;
    let entry = Entry { name, place, tags };
    let outcome = block_on(enrolling.on(&entry, address));
    let is_new = outcome.as_ref().is_ok_and(|done| done.installation.changed);
    let end = enrolling.report(&entry.name, outcome, options.json, context)?;
    if end == End::Ok && is_new && !options.dry_run {
        output::note(&format!("Next: lariat run {} -- uptime", entry.name));
    }
    Ok(ExitCode::from(status::of_one(end)))
}

/// Enrolls the hosts of a file.
pub(super) fn many(
    from: &Path,
    tags: &[Tag],
    options: &Options,
    context: &Context,
) -> Result<ExitCode, CliError> {
    let during = |error: CliError| error.during("enroll");
    let mut entries = read_list(from).map_err(during)?;
    for entry in &mut entries {
        entry.tags = Tag::joined(Some(&entry.tags), tags);
    }
    let enrolling = Rc::new(Enrolling::new(options, context, false).map_err(during)?);
    let began = Instant::now();
    let mut ends = Vec::new();
    let work = async {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        let mut running = JoinSet::new();
        for entry in entries {
            let (enrolling, places) = (Rc::clone(&enrolling), Arc::clone(&places));
            running.spawn_local(async move {
                let _place = places.acquire().await;
                let outcome = enrolling.on(&entry, None).await;
                (entry.name, outcome)
            });
        }
        while let Some(ended) = running.join_next().await {
            let (name, outcome) = ended.map_err(|_| CliError::new("a mistake in lariat itself"))?;
            let end = enrolling.report(&name, outcome, options.json, context)?;
            ends.push((name, end));
        }
        Ok(())
    };
    block_on(LocalSet::new().run_until(work))?;
    let seconds = began.elapsed().as_secs_f64();
    let counts = counts(ends.iter().map(|(name, end)| (name, *end)), Paint::stderr());
    output::notes::colored(&format!("{counts}; {seconds:.1} s"));
    Ok(ExitCode::from(status::of_several(ends.into_iter().map(|(_, end)| end), None)))
}
