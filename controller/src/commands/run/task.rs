//! What `run` runs on each of several hosts: the same commands, as each host's own requests.

use std::time::Duration;

use lariat_base::name::JobId;
use lariat_wire::protocol::exec::{Command, Run};

use super::output::Output;
use super::request::Expand;
use super::{Args, lines, request};
use crate::error::CliError;
use crate::target::Chosen;

/// What is run.
pub(crate) struct Task {
    template: Run,
    pub(super) commands: Vec<Command>,
    /// The commands are lines of a file, and each is told of by itself.
    by_line: bool,
    /// Which of its texts have `{host}` in them.
    expand: Expand,
    pub(super) output: Output,
    /// How long a connection may stay broken, if the step says so itself.
    pub(super) reconnect: Option<Duration>,
}

impl Task {
    pub(super) async fn new(
        args: &Args,
        template: Run,
        command: Option<Command>,
    ) -> Result<Self, CliError> {
        let by_line = command.is_none();
        let commands = match command {
            Some(command) => vec![command],
            None => lines::all(args).await?,
        };
        let (output, reconnect) = (Output::new(args)?, args.connect.reconnect);
        let expand = Expand::of(args);
        let task = Self { template, commands, by_line, expand, output, reconnect };
        task.check()?;
        Ok(task)
    }

    /// One that is a step of a plan: `{host}` in what the plan itself says of it, not in files, is the
    /// host's name. Stdin is not for such.
    pub(crate) async fn of_plan(args: &Args) -> Result<Self, CliError> {
        if args.from.as_ref().is_some_and(|file| file.as_os_str() == "-") {
            return Err(CliError::new("a plan's commands can't come from stdin"));
        }
        let command = request::command(args)?;
        let template = command.clone().unwrap_or(Command::Shell(Vec::new()));
        let task = Self::new(args, request::request(args, template)?, command).await?;
        let expand = match (task.by_line, args.expand) {
            (true, _) => Expand::Nothing,
            (false, true) => Expand::Words,
            (false, false) => Expand::Plan,
        };
        let task = Self { expand, ..task };
        task.check()?;
        Ok(task)
    }

    /// Tells a mistake in braces before any host is touched.
    pub(super) fn check(&self) -> Result<(), CliError> {
        self.commands.iter().try_for_each(|command| {
            let request = Run { command: command.clone(), ..self.template.clone() };
            request::check_expansion(request, self.expand)
        })
    }

    /// How long each may take.
    pub(super) fn timeout(&self) -> Option<Duration> {
        self.template.timeout_ms.map(Duration::from_millis)
    }

    /// What a command is called, if it is one of several.
    pub(super) fn line<'a>(&self, command: &'a Command) -> Option<&'a [u8]> {
        match command {
            Command::Shell(line) if self.by_line => Some(line),
            _ => None,
        }
    }

    /// The request for one host, with a new job's id.
    pub(super) fn request(
        &self,
        command: &Command,
        chosen: &Chosen,
        grace: Duration,
    ) -> Result<Run, CliError> {
        let grace_ms = request::milliseconds(grace);
        let user = self.template.user.clone().or_else(|| chosen.user.clone());
        let command = command.clone();
        let job = JobId::generate()?;
        let request = Run { job, command, user, grace_ms, ..self.template.clone() };
        request::for_host(request, &chosen.host, self.expand)
    }
}
