//! `lariat can`: may a key do that? The agents answer, with the rule.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::process::ExitCode;
use std::time::Duration;

use lariat_base::name::HostName;
use lariat_wire::protocol::exec::Command;
use lariat_wire::protocol::hypothetical;
use lariat_wire::protocol::metadata::Preserve;
use lariat_wire::protocol::request::Request;
use lariat_wire::protocol::transfer::Overrides;

use crate::can::{Asking, Question};
use crate::context::Context;
use crate::error::CliError;
use crate::fanout::{FanoutOptions, Verb};
use crate::fleet;
use crate::key_first;
use crate::shell_word::shell_word;
use crate::target::{self, Chosen, Targets};
use crate::template::Template;
use crate::tilde;

#[derive(clap::Args)]
#[command(after_long_help = "\
The agent's own check is asked, and nothing is done. Anybody may ask about their own key; asking about another \
key needs the verb keys. A single argument after -- is a line for /bin/sh; several are a program and its \
arguments, as in run. The exit status is 0 if every host allows it, 1 if one denies it, and 255 if one does not \
answer.

Examples:
  lariat can deploy@ci all -- systemctl restart app
  lariat can deploy@ci web1 --push /srv/app
  lariat can bob gw1 --connect 10.0.0.5:22
  lariat can deploy@ci web1                (everything that the key may do)")]
pub(crate) struct Args {
    /// The key: its label or id
    #[arg(value_name = "KEY")]
    name: String,

    /// Which hosts: web1, web[01-20], 'web*', @tag, all
    #[arg(value_name = "TARGET", long_help = target::HELP)]
    target: Targets,

    /// May it send files to this path?
    #[arg(long, value_name = "PATH", group = "action")]
    push: Option<OsString>,

    /// May it fetch this path?
    #[arg(long, value_name = "PATH", group = "action")]
    pull: Option<OsString>,

    /// May it connect through the host to this?
    #[arg(long = "connect", value_name = "ADDR:PORT", group = "action")]
    place: Option<String>,

    /// May it listen at this address of the host?
    #[arg(long, value_name = "[ADDR:]PORT", group = "action", hide_short_help = true)]
    listen: Option<String>,

    /// May it open a terminal?
    #[arg(long, group = "action")]
    shell: bool,

    /// As this user of the host; same as NAME@HOST
    #[arg(short, long, value_name = "NAME")]
    user: Option<String>,

    /// Print one JSON object per host
    ///
    /// Its fields: host, ok, kind, allowed, rule, why, error; without ACTION also rules.
    #[arg(long)]
    json: bool,

    /// Time limit per host, such as 30s, 5m or 2h
    ///
    /// It includes the time for connecting. DUR is a number with a unit, ms, s, m, h or d; without a unit it is
    /// seconds.
    #[arg(long, value_name = "DUR", value_parser = fleet::parse_limit)]
    timeout: Option<Duration>,

    #[command(flatten)]
    connect: fleet::ReachOptions,

    #[command(flatten)]
    fanout: FanoutOptions,

    /// May it run this?
    #[arg(last = true, value_name = "COMMAND", group = "action")]
    command: Vec<OsString>,
}

pub(crate) fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    key_first::check("can", &args.name, &args.target, context)?;
    let action = args.action()?;
    let of_key = args.name.clone();
    let Args { name, target, user, json, timeout, connect, fanout, .. } = args;
    let (targets, connect, fanout) = (vec![&target], &connect, &fanout);
    Verb { context, connect, fanout, targets, json, recorded: None }.run(async |hosts| {
        hosts.check_users(user.as_deref())?;
        let has_user = user.is_some() || hosts.chosen.iter().any(|chosen| chosen.user.is_some());
        if action.is_none() && has_user {
            let message = "can: a user is of an action, such as -- COMMAND, and none is named";
            let hint = format!("lariat can {} {}", shell_word(&of_key), hosts.chosen[0].host);
            return Err(CliError::new(message).hint(format!("{hint}, for everything")));
        }
        let questions = move |chosen: &Chosen| {
            let user = chosen.user(user.as_deref())?;
            let request = action.as_ref().and_then(|action| action.request(&chosen.host, user));
            Ok(vec![Question { name: None, request }])
        };
        Ok(Asking { key: Some(name), questions: Box::new(questions), limit: timeout, json })
    })
}

/// What the key would do.
enum Action {
    /// To a place that has been checked.
    Connect(String),
    Listen(Box<Request>),
    Run(Command),
    Push(Template),
    Pull(Vec<u8>),
}

impl Args {
    fn action(&self) -> Result<Option<Action>, CliError> {
        let path = |path: &OsString| tilde::remote(path.as_bytes());
        if let Some(place) = &self.place {
            let odd = || {
                CliError::new(format!(
                    "--connect: {place:?} is not ADDR:PORT, nor the path of a socket"
                ))
            };
            hypothetical::connect(place, None).ok_or_else(odd)?;
            return Ok(Some(Action::Connect(place.clone())));
        }
        if let Some(at) = &self.listen {
            let odd = || CliError::new(format!("--listen: {at:?} is not [ADDR:]PORT"));
            return Ok(Some(Action::Listen(Box::new(hypothetical::listen(at).ok_or_else(odd)?))));
        }
        let words = || self.command.iter().map(|word| word.clone().into_vec());
        Ok(match (&self.push, &self.pull, self.command.as_slice()) {
            (Some(dest), ..) => Some(Action::Push(Template::parse(&path(dest)?)?)),
            (_, Some(source), _) => Some(Action::Pull(path(source)?)),
            (.., []) => self.shell.then_some(Action::Run(Command::Login)),
            (.., [_]) => words().next().map(|line| Action::Run(Command::Shell(line))),
            _ => Some(Action::Run(Command::Argv(words().collect()))),
        })
    }
}

impl Action {
    /// The request that the verb would make of a host.
    fn request(&self, host: &HostName, user: Option<String>) -> Option<Request> {
        Some(match self {
            Self::Connect(place) => return hypothetical::connect(place, user),
            Self::Listen(request) => Request::clone(request),
            Self::Run(command) => hypothetical::run(command.clone(), user),
            Self::Push(path) => {
                let (preserve, overrides) = (Preserve::default(), Overrides::default());
                hypothetical::push(path.for_host(host), user, preserve, overrides)
            }
            Self::Pull(path) => hypothetical::pull(path.clone(), user, None),
        })
    }
}
