//! The supervisor's process, and the one that supervisors are forked from.

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
use super::zygote::{self, Born};
use crate::jobs::cgroup::{GroupName, Groups};
use crate::jobs::channel::{Begin, ChannelError, ToSupervisor};
use crate::jobs::inbox::Inbox;
use crate::jobs::raw;
use crate::jobs::record::Mark;

/// The hidden subcommand of `lariatd` that is this.
pub const SUBCOMMAND: &str = "supervise";

/// What follows it where the process's control group is its own alone.
pub(in crate::jobs) const ASIDE: &str = "aside";

/// Forks supervisors, and runs each from its beginning to its end. Call it before anything else is opened
/// or started.
pub fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Only a person who typed this by hand sees it: the agent gives us /dev/null.
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
        // Without limits commands run all the same.
        let _ = groups.as_ref().map(Groups::step_aside);
    }
    let agent = UnixStream::from(take_stdin()?);
    match zygote::serve(agent, groups.as_ref())? {
        Some(born) => supervise(born, groups.as_ref()),
        None => Ok(()),
    }
}

fn supervise(born: Born, groups: Option<&Groups>) -> Result<(), ChannelError> {
    let Born { agent: socket, reports } = born;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(io::Error::from)?;
    let _ = rustix::process::setsid();
    call_it(c"lariat-job");
    // Whatever can be done before there is a job: nobody waits for it.
    let name = GroupName::generate().map_err(io::Error::other)?;
    let mut reporter = Reporter::new(reports, name);
    let mut group = groups.and_then(|groups| groups.make(name));
    let mut inbox = Inbox::default();
    let (begin, directory, record) = begin(&socket, &mut inbox)?;
    if let Some(group) = &mut group {
        group.limit(begin.tasks_max);
    }
    let started = match Mark::Began.add(&record) {
        Ok(()) => command::start(&begin, group.as_mut()),
        Err(error) => Err(Failed::io(&error)),
    };
    if let Ok(running) = &started {
        reporter.started(running.pid);
    }
    // The command inherits this thread's signal mask, so ours is set only now.
    let signals =
        signals::watch(&[Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP])?;
    // The command's directory must not be held busy by us.
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

/// Makes this process, and so its supervisors and their commands, what a freshly logged-in one is,
/// wherever the agent was started from. What fails here fails for want of a privilege; commands can run
/// all the same.
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
    call_it(c"lariat-jobs");
    Ok(())
}

/// What it is called among the host's processes: started through a link to the agent's binary, it would
/// be `exe`.
fn call_it(name: &CStr) {
    let _ = rustix::thread::set_name(name);
}

/// Takes the socket off stdin, so that nobody else holds it open.
fn take_stdin() -> io::Result<OwnedFd> {
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    Ok(socket)
}

/// Waits for the request, the job's directory and its record.
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
