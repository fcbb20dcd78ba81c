//! The entry points of a supervisor and of the zygote.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use lariat_engine::file_size_limit;
use nix::sys::signal::{SigSet, Signal};
use rustix::fs::Mode;
use rustix::net::RecvFlags;

use super::agent_peer::AgentPeer;
use super::command::{self, Failed};
use super::event_loop::EventLoop;
use super::roster::Reporter;
use super::signals;
use super::zygote::{self, Inherited};
use crate::jobs::cgroup::{GroupName, Groups, Limits};
use crate::jobs::channel::{Begin, ChannelError, ToSupervisor};
use crate::jobs::inbox::Inbox;
use crate::jobs::raw;
use crate::jobs::record::Mark;

/// The hidden subcommand of `lariatd` that runs this.
pub const SUBCOMMAND: &str = "supervise";

/// The argument after it if the process has its control group to itself.
pub(in crate::jobs) const ASIDE: &str = "aside";

/// Forks supervisors, and runs each to its end. Must be called before this process opens files or starts
/// threads.
pub fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Only a person who runs this by hand sees it: the agent connects stderr to /dev/null.
            #[expect(clippy::print_stderr, reason = "there is no log here")]
            {
                eprintln!("lariatd {SUBCOMMAND} is started by the agent itself: {error}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), ChannelError> {
    prepare()?;
    let groups = Groups::find();
    if std::env::args_os().nth(2).is_some_and(|argument| argument == ASIDE) {
        // Without limits the commands still run.
        let _ = groups.as_ref().map(Groups::step_aside);
    }
    let agent = UnixStream::from(take_stdin()?);
    match zygote::serve(agent, groups.as_ref())? {
        Some(born) => supervise(born, groups.as_ref()),
        None => Ok(()),
    }
}

fn supervise(born: Inherited, groups: Option<&Groups>) -> Result<(), ChannelError> {
    let Inherited { agent: socket, reports } = born;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(io::Error::from)?;
    let _ = rustix::process::setsid();
    set_process_name(c"lariat-job");
    // Everything that can be done before the request arrives, while no client waits.
    let name = GroupName::generate().map_err(io::Error::other)?;
    let mut reporter = Reporter::new(reports, name);
    let mut group = groups.and_then(|groups| groups.make(name));
    let mut inbox = Inbox::default();
    let (begin, directory, record) = begin(&socket, &mut inbox)?;
    // Before the command runs: a signal that arrives in between is read later.
    let signals =
        signals::watch(&[Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP])?;
    if let Some(group) = &mut group {
        group.limit(Limits { tasks: begin.tasks_max, memory: begin.memory_max });
    }
    let started = match Mark::Began.add(&record) {
        Ok(()) => command::start(&begin, group.as_mut()),
        Err(error) => Err(Failed::io(&error)),
    };
    if let Ok(running) = &started {
        reporter.started(running.pid);
    }
    // The supervisor must not keep the command's directory busy.
    let _ = std::env::set_current_dir("/");
    let agent = AgentPeer::first(socket, inbox);
    let watch = EventLoop::new(&begin, directory, record, signals, agent, (group, reporter));
    drop(begin);
    match started {
        Ok(running) => watch.run(running)?,
        Err(Failed::NotRun(end)) => watch.run_none(end)?,
        Err(Failed::NotStarted(why)) => watch.fail(why)?,
    }
    Ok(())
}

/// Gives this process, and so its supervisors and their commands, the environment of a new login, however the
/// agent was started. Steps that fail lack a privilege; commands can still run.
fn prepare() -> io::Result<()> {
    raw::close_inherited();
    raw::reset_signals();
    file_size_limit::report_as_error()?;
    SigSet::empty().thread_set_mask()?;
    let _ = rustix::process::setsid();
    rustix::process::umask(Mode::WGRP | Mode::WOTH);
    if rustix::process::getpriority_process(None) != Ok(0) {
        let _ = rustix::process::setpriority_process(None, 0);
    }
    let _ = std::fs::write("/proc/self/oom_score_adj", "0");
    set_process_name(c"lariat-jobs");
    Ok(())
}

/// Sets the name in process listings, which would be `exe`, because the binary is started through a link.
fn set_process_name(name: &CStr) {
    let _ = rustix::thread::set_name(name);
}

/// Takes the socket off stdin, so that no child holds it open.
fn take_stdin() -> io::Result<OwnedFd> {
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    Ok(socket)
}

/// Receives the request, the job's directory and its record.
fn begin(socket: &UnixStream, inbox: &mut Inbox) -> Result<(Begin, OwnedFd, File), ChannelError> {
    loop {
        if let Some(frame) = inbox.frame()? {
            let Some(ToSupervisor::Begin(begin)) = frame.message()? else {
                return Err(ChannelError::Malformed);
            };
            let (directory, record) = (inbox.fd(), inbox.fd());
            let directory = directory.ok_or(ChannelError::Malformed)?;
            let record = record.ok_or(ChannelError::Malformed)?;
            inbox.shrink();
            return Ok((*begin, directory, record.into()));
        }
        if inbox.receive(socket.as_fd(), RecvFlags::empty())? == 0 {
            return Err(ChannelError::Gone);
        }
    }
}
