//! `lariat batch`: runs a plan; each host runs its steps in order, and stops at the first failure.

mod host;
mod plan;
mod progress;
mod step_error;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use self::host::Steps;
use self::plan::{Aim, Step};
use self::progress::{Done, Progress};
use lariat_base::escape::shortened;

use crate::can::Asking;
use crate::context::Context;
use crate::error::CliError;
use crate::fanout::{Fanout, FanoutOptions, Plan};
use crate::fleet::{self, Fleet};
use crate::output::{self, json};
use crate::runtime::block_on;
use crate::shell_word::shell_word;
use crate::target::{Chosen, Targets, fold};

/// Most characters of a step's description.
const LONGEST_STEP: usize = 200;

/// Longest plan, in bytes.
const LONGEST: u64 = 1024 * 1024;

#[derive(clap::Args)]
#[command(after_long_help = "\
A plan is TOML. Each [[step]] has one of push and pull (with dest) or run, and the verb's options by their long \
names; {host} in a step is the host's name:

  [[step]]
  push = \"app.tar.gz\"
  dest = \"/srv/\"
  target = \"@web\"
  [[step]]
  push = \"conf/{host}.toml\"
  dest = \"/etc/app.toml\"
  [[step]]
  run = \"tar -xzf /srv/app.tar.gz -C /srv && systemctl restart app\"
  timeout = \"5m\"

A step with when = \"changed\" runs only where an earlier push or pull of the plan changed something.

A step is for the hosts of its target, among those of TARGET. Each host runs its steps in order; after a failed \
step it runs no other. --parallel, --batch and --max-fail apply to whole plans.

Examples:
  lariat batch deploy.toml @web --dry-run
  lariat batch deploy.toml @web --batch 25% --max-fail 1
  lariat batch deploy.toml @web --resume")]
pub(crate) struct Args {
    /// The plan, a TOML file
    #[arg(value_name = "PLAN.toml")]
    plan: PathBuf,

    /// Which hosts [default: those named by its steps]
    ///
    /// Such as web1, web[01-20], 'web*', @tag or all; lariat hosts --help explains targets.
    #[arg(value_name = "TARGET")]
    target: Option<Targets>,

    /// Check the plan and show who does what
    ///
    /// The hosts are asked whether they permit it, and nothing is run.
    #[arg(short = 'n', long)]
    dry_run: bool,

    /// Continue the last plan, which must be this one
    ///
    /// Each host begins with its first unfinished step.
    #[arg(long)]
    resume: bool,

    /// Print one JSON object per host
    ///
    /// Its fields: host, ok, kind, done, steps, seconds, error.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: fleet::ReachOptions,

    #[command(flatten)]
    fanout: FanoutOptions,
}

/// Fuzzing entry point: parses a plan.
#[cfg(feature = "fuzzing")]
pub fn read_plan(text: &str) {
    let _ = plan::parse(std::path::Path::new("plan.toml"), text);
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode, CliError> {
    let shown = args.plan.display();
    let text = read(&args.plan).map_err(|error| {
        let error = error.during(format!("read {shown}"));
        swapped(args).into_iter().fold(error, CliError::hint)
    })?;
    let steps = plan::parse(&args.plan, &text)?;
    let home = context.home()?;
    let fleet = Arc::new(Fleet::load(context, &args.connect)?);
    let (hosts, chosen) = hosts(args, &steps, context, &fleet)?;
    if hosts.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let what =
        |step: &Step| format!("{shown}:{}: {}", step.line, shortened(&step.what, LONGEST_STEP));
    let when = |step: &Step| if step.when_changed { ", when changed" } else { "" };
    if args.dry_run {
        for (step, chosen) in steps.iter().zip(&chosen) {
            let names = chosen.iter().flatten().map(|chosen| chosen.host.as_str());
            let line = format!("{}: {}{}", what(step), fold(names), when(step));
            if args.json { output::note(&line) } else { output::line(&line)? }
        }
    }
    block_on(async {
        // Files are opened and scripts are read before any host is contacted.
        let mut all = Vec::new();
        for (step, chosen) in steps.into_iter().zip(chosen) {
            let (what, when_changed) = (what(&step), step.when_changed);
            let hosts: Vec<_> = chosen.iter().flatten().map(|one| one.host.clone()).collect();
            let reconnect = step.verb.reconnect();
            let verb = host::Verb::ready(step.verb, &hosts, args.fanout.limits()).await;
            let verb = verb.map_err(|error| error.during(&what))?;
            all.push(host::Step { what, when_changed, reconnect, chosen, verb });
        }
        if args.dry_run {
            return ask(args, context, fleet, hosts, all).await;
        }
        let (progress, before) = if args.resume {
            Progress::resume(&home, &text)?
        } else {
            (Progress::begin(&home, &text)?, Done::new())
        };
        let hosts = left(hosts, &mut all, &before);
        if hosts.is_empty() {
            output::note("every host has done all of it");
            return Ok(ExitCode::SUCCESS);
        }
        let target =
            args.target.as_ref().map_or_else(|| "its hosts".to_owned(), ToString::to_string);
        let names = hosts.iter().map(|chosen| chosen.host.clone());
        let plan = Plan::now("batch", shown.to_string(), target, names);
        let fanout = Fanout::new(context, &plan, hosts, args.fanout.limits(), args.json)?;
        let steps = Steps { all, fleet: Arc::clone(&fleet), progress, before, json: args.json };
        let (status, ()) = fanout.run(fleet, Arc::new(steps)).await?;
        if status != 0 {
            output::note(&format!("to go on with the hosts that failed: {}", resume(args)));
        }
        Ok(ExitCode::from(status))
    })
}

/// The command line with its words in order, if the plan stands where the target belongs.
fn swapped(args: &Args) -> Option<String> {
    let target = args.plan.to_str()?.parse::<Targets>().ok()?;
    let plan = args.target.as_ref()?.to_string();
    let is_plan = !args.plan.exists() && std::path::Path::new(&plan).is_file();
    is_plan.then(|| format!("lariat batch {} {}", shell_word(&plan), target.quoted()))
}

/// The command line that continues the plan.
fn resume(args: &Args) -> String {
    let plan = shell_word(&args.plan.display().to_string());
    let target = args.target.as_ref().map(|target| format!(" {}", target.quoted()));
    format!("lariat batch {plan}{} --resume", target.unwrap_or_default())
}

/// Asks the hosts whether they would permit the steps that are for them.
async fn ask(
    args: &Args,
    context: &Context,
    fleet: Arc<Fleet>,
    hosts: Vec<Chosen>,
    steps: Vec<host::Step>,
) -> Result<ExitCode, CliError> {
    let names: Vec<_> = hosts.iter().map(|chosen| chosen.host.clone()).collect();
    let questions = move |chosen: &Chosen| {
        let number = names.iter().position(|name| *name == chosen.host);
        let asked = steps.iter().map(|step| step.questions(number.unwrap_or(usize::MAX)));
        Ok(asked.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    };
    let (key, limit, json) = (None, None, args.json);
    let asking = Asking { key, questions: Box::new(questions), limit, json };
    let fanout = Fanout::look(context, hosts, args.fanout.limits(), json)?;
    let (status, ()) = fanout.run(fleet, Arc::new(asking)).await?;
    Ok(ExitCode::from(status))
}

fn read(path: &std::path::Path) -> Result<String, CliError> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path)?.take(LONGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LONGEST {
        return Err(CliError::new(format!("over {} KiB", LONGEST / 1024)));
    }
    Ok(text)
}

/// The plan's hosts, and for each step those that it applies to, with their users.
type Hosts = (Vec<Chosen>, Vec<Vec<Option<Chosen>>>);

fn hosts(args: &Args, steps: &[Step], context: &Context, fleet: &Fleet) -> Result<Hosts, CliError> {
    let given = args.target.as_ref().map(|target| {
        let hosts = args.fanout.hosts(target, fleet, context);
        let nothing = host::Counts { done: 0, steps: steps.len(), seconds: 0.0 };
        hosts.map_err(|error| json::not_begun(args.json, target, error, nothing))
    });
    let given = given.transpose()?;
    let mut of_steps = Vec::new();
    let mut all = given.clone().unwrap_or_default();
    let place = |line: usize| format!("{}:{line}", args.plan.display());
    for step in steps {
        let hosts = match (&step.target, &given) {
            (Some(Aim { line, targets }), given) => {
                let hosts = if given.is_none() {
                    args.fanout.hosts(targets, fleet, context)
                } else {
                    targets.select(&fleet.inventory)
                };
                hosts.map_err(|error| error.during("target").during(place(*line)))?
            }
            (None, Some(given)) => given.clone(),
            (None, None) => {
                let error = CliError::new("this step has no target, and the command line neither");
                return Err(error.during(place(step.line)).hint("lariat batch PLAN.toml TARGET"));
            }
        };
        for chosen in &hosts {
            if given.is_none() && !all.iter().any(|known| known.host == chosen.host) {
                all.push(chosen.clone());
            }
        }
        of_steps.push(hosts);
    }
    let mine = |hosts: Vec<Chosen>| {
        let one = |host: &Chosen| hosts.iter().find(|chosen| chosen.host == host.host).cloned();
        all.iter().map(one).collect()
    };
    let of_steps = of_steps.into_iter().map(mine).collect();
    Ok((all, of_steps))
}

/// Removes the hosts that have completed the plan, and returns the others.
fn left(hosts: Vec<Chosen>, steps: &mut [host::Step], done: &Done) -> Vec<Chosen> {
    let count = steps.len();
    let is_left = |host: &Chosen| done.get(&host.host).is_none_or(|stand| stand.done < count);
    for step in steps {
        let mut all = hosts.iter();
        step.chosen.retain(|_| all.next().is_none_or(is_left));
    }
    hosts.into_iter().filter(is_left).collect()
}
