//! The commands that `run` executes, and their requests for each host.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lariat_base::name::JobId;
use lariat_wire::protocol::exec::{Command, Run};
use lariat_wire::protocol::request::{JobRequest, Request};

use super::args::Args;
use super::lines::Lines;
use super::output::Output;
use super::request::Expand;
use super::{lines, request};
use crate::can::Question;
use crate::error::CliError;
use crate::target::Chosen;

/// The commands of a `run`.
pub(crate) struct Task {
    template: Run,
    commands: Commands,
    /// The commands are lines of a file, and each has its own result.
    by_line: bool,
    /// Which texts contain `{host}`.
    expand: Expand,
    pub(super) output: Output,
}

enum Commands {
    /// Known in advance.
    Known(Vec<Command>),
    /// The lines of this file, read as they are run: for a single host.
    Lines(PathBuf),
}

/// Reads the commands of a task in order.
pub(super) struct CommandReader<'a> {
    task: &'a Task,
    /// The file, if the commands are its lines.
    lines: Option<Lines>,
}

impl CommandReader<'_> {
    /// The command with this index.
    pub(super) async fn next(&mut self, number: usize) -> Result<Option<Command>, CliError> {
        match (&self.task.commands, &mut self.lines) {
            (Commands::Known(commands), _) => Ok(commands.get(number).cloned()),
            (Commands::Lines(_), Some(lines)) => lines.next(&self.task.template).await,
            (Commands::Lines(_), None) => Ok(None),
        }
    }
}

impl Task {
    pub(super) async fn new(
        args: &Args,
        template: Run,
        command: Option<Command>,
        are_several: bool,
    ) -> Result<Self, CliError> {
        let by_line = command.is_none();
        let file = args.from.as_deref().unwrap_or(Path::new("-"));
        let commands = match command {
            Some(command) => Commands::Known(vec![command]),
            None if are_several => Commands::Known(lines::all(file, &template).await?),
            None => Commands::Lines(file.to_owned()),
        };
        let output = Output::new(&args.output, args.json, are_several)?;
        let expand = Expand::of(args);
        let task = Self { template, commands, by_line, expand, output };
        task.check()?;
        Ok(task)
    }

    /// The task of a plan's step: `{host}` in the plan's own texts, but not in files, is replaced by the host's
    /// name. It can't use stdin.
    pub(crate) async fn of_plan(args: &Args) -> Result<Self, CliError> {
        if args.from.as_ref().is_some_and(|file| file.as_os_str() == "-") {
            return Err(CliError::new("a plan's commands can't come from stdin"));
        }
        let command = request::command(args)?;
        let template = command.clone().unwrap_or(Command::Shell(Vec::new()));
        let task = Self::new(args, request::request(args, template)?, command, true).await?;
        let expand = match (task.by_line, args.expand) {
            (true, _) => Expand::Nothing,
            (false, true) => Expand::Words,
            (false, false) => Expand::Plan,
        };
        let task = Self { expand, ..task };
        task.check()?;
        Ok(task)
    }

    /// Checks the placeholders before any host is contacted.
    pub(super) fn check(&self) -> Result<(), CliError> {
        let Commands::Known(commands) = &self.commands else { return Ok(()) };
        commands.iter().try_for_each(|command| {
            let request = Run { command: command.clone(), ..self.template.clone() };
            request::check_expansion(request, self.expand)
        })
    }

    /// A reader of the commands.
    pub(super) fn commands(&self) -> Result<CommandReader<'_>, CliError> {
        let lines = match &self.commands {
            Commands::Known(_) => None,
            Commands::Lines(file) => Some(Lines::open(file)?),
        };
        Ok(CommandReader { task: self, lines })
    }

    /// What a dry run asks a host: whether it would permit each of the commands.
    pub(crate) fn questions(&self, chosen: &Chosen) -> Result<Vec<Question>, CliError> {
        let Commands::Known(commands) = &self.commands else { return Ok(Vec::new()) };
        let question = |command: &Command| {
            let run = self.request(command, chosen, Duration::ZERO)?;
            let name = self.line(command).map(|line| String::from_utf8_lossy(line).into_owned());
            Ok(Question { name, request: Some(Request::Job(JobRequest::Run(run))) })
        };
        commands.iter().map(question).collect()
    }

    /// The id that the detached jobs of all hosts have.
    pub(super) fn shared_job(&self) -> Option<JobId> {
        request::shared_job(&self.template)
    }

    /// The time limit of each command.
    pub(super) fn timeout(&self) -> Option<Duration> {
        self.template.timeout_ms.map(Duration::from_millis)
    }

    /// The label of a command's results, if there are several.
    pub(super) fn line<'a>(&self, command: &'a Command) -> Option<&'a [u8]> {
        match command {
            Command::Shell(line) if self.by_line => Some(line),
            _ => None,
        }
    }

    /// The request for one host, with a new job id. Detached jobs have the same on all hosts, by which they are
    /// found together.
    pub(super) fn request(
        &self,
        command: &Command,
        chosen: &Chosen,
        grace: Duration,
    ) -> Result<Run, CliError> {
        let grace_ms = request::milliseconds(grace);
        let user = self.template.user.clone().or_else(|| chosen.user.clone());
        let command = command.clone();
        let job = request::shared_job(&self.template).map_or_else(JobId::generate, Ok)?;
        let request = Run { job, command, user, grace_ms, ..self.template.clone() };
        request::for_host(request, &chosen.host, self.expand)
    }
}
