//! What `run` runs on each host: the same commands, as each host's own requests.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lariat_base::name::JobId;
use lariat_wire::protocol::exec::{Command, Run};

use super::args::Args;
use super::lines::Lines;
use super::output::Output;
use super::request::Expand;
use super::{lines, request};
use crate::error::CliError;
use crate::target::Chosen;

/// What is run.
pub(crate) struct Task {
    template: Run,
    commands: Commands,
    /// The commands are lines of a file, and each is told of by itself.
    by_line: bool,
    /// Which of its texts have `{host}` in them.
    expand: Expand,
    pub(super) output: Output,
}

enum Commands {
    /// These.
    Known(Vec<Command>),
    /// The lines of this file, read as they are run: for the only host.
    Lines(PathBuf),
}

/// The commands of a task, one after another.
pub(super) struct CommandReader<'a> {
    task: &'a Task,
    /// The file that they are lines of, if they are not known.
    lines: Option<Lines>,
}

impl CommandReader<'_> {
    /// The command of this number.
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

    /// One that is a step of a plan: `{host}` in what the plan itself says of it, not in files, is the
    /// host's name. Stdin is not for such.
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

    /// Tells a mistake in braces before any host is touched.
    pub(super) fn check(&self) -> Result<(), CliError> {
        let Commands::Known(commands) = &self.commands else { return Ok(()) };
        commands.iter().try_for_each(|command| {
            let request = Run { command: command.clone(), ..self.template.clone() };
            request::check_expansion(request, self.expand)
        })
    }

    /// The commands, from the first on.
    pub(super) fn commands(&self) -> Result<CommandReader<'_>, CliError> {
        let lines = match &self.commands {
            Commands::Known(_) => None,
            Commands::Lines(file) => Some(Lines::open(file)?),
        };
        Ok(CommandReader { task: self, lines })
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
