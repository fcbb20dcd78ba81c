//! Everything that a supervisor holds, and what it does when something has come.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use nix::sys::signalfd::SignalFd;
use rustix::io::Errno;
use rustix::process::{WaitOptions, WaitStatus, wait};

use super::sent_once::SentOnce;
use crate::jobs::cgroup::OwnGroup;
use crate::jobs::channel::{self, Begin, ToAgent};
use crate::jobs::directory;
use crate::jobs::record::Mark;
use crate::jobs::spool::Filled;
use crate::jobs::stream::Stream;
use crate::jobs::supervise::agent_peer::{AgentPeer, View};
use crate::jobs::supervise::command::Running;
use crate::jobs::supervise::lifecycle::{Action, Lifecycle};
use crate::jobs::supervise::linger::linger;
use crate::jobs::supervise::output::Output;
use crate::jobs::supervise::roster::Reporter;
use crate::jobs::supervise::stdin::Stdin;
use crate::jobs::supervise::tree::{self, SIGHUP, SIGKILL, SIGTERM};
use crate::jobs::words::{End, Exit, NotStarted, Offsets, Run, Streams};

/// How long a command runs before other agents can connect. Most are over by then, and need no socket
/// in the file system; an agent that looks for one waits longer.
const LISTEN_AFTER: Duration = Duration::from_millis(20);

/// The host's first process. It ends what runs when the host goes down, and units of its own whole.
const FIRST: u32 = 1;

/// Everything that a supervisor holds.
pub(in crate::jobs::supervise) struct EventLoop {
    pub(super) directory: OwnedFd,
    pub(super) record: File,
    /// The job's end was written down.
    pub(super) is_recorded: bool,
    pub(super) signals: SignalFd,
    pub(super) control: Option<OwnGroup>,
    /// Tells the zygote what is left to clear away if this supervisor is killed.
    pub(super) reporter: Reporter,
    pub(super) is_reported: bool,
    pub(super) listener: Option<UnixListener>,
    pub(super) listen_at: Option<Instant>,
    /// Places, some of them free, so that each keeps its number.
    pub(super) agents: Vec<Option<AgentPeer>>,
    pub(super) pid: Option<u32>,
    pub(super) outputs: [Output; 2],
    pub(super) stdin: Stdin,
    /// The command has a terminal, which is the first output.
    pub(super) is_terminal: bool,
    /// Signals that agents have asked for.
    pub(super) sent: SentOnce,
    pub(super) life: Lifecycle,
}

impl EventLoop {
    /// A job whose command is about to be started.
    pub(in crate::jobs::supervise) fn new(
        begin: &Begin,
        directory: OwnedFd,
        record: File,
        signals: SignalFd,
        agent: AgentPeer,
        (control, reporter): (Option<OwnGroup>, Reporter),
    ) -> Self {
        let Run { timeout_ms, grace_ms, streams, .. } = &begin.run;
        let grace = match streams {
            Streams::Followed { .. } | Streams::Terminal { .. } => {
                Some(Duration::from_millis(*grace_ms))
            }
            Streams::Detached => None,
        };
        let now = Instant::now();
        let timeout = timeout_ms.map(Duration::from_millis);
        Self {
            directory,
            record,
            is_recorded: false,
            signals,
            control,
            reporter,
            is_reported: false,
            listener: None,
            listen_at: Some(now + LISTEN_AFTER),
            agents: vec![Some(agent)],
            pid: None,
            outputs: Stream::ALL.map(|stream| Output::new(stream, streams, begin.log_limit)),
            stdin: Stdin::none(),
            is_terminal: matches!(streams, Streams::Terminal { .. }),
            sent: SentOnce::default(),
            life: Lifecycle::new(now, timeout, grace),
        }
    }

    /// Tells why nothing runs, and is done.
    pub(in crate::jobs::supervise) fn fail(self, why: NotStarted) -> io::Result<()> {
        let Some(agent) = self.agents.iter().flatten().next() else { return Ok(()) };
        let frame = channel::message(&ToAgent::NotStarted(why)).map_err(io::Error::other)?;
        channel::send_all(&agent.socket, &frame, &[])
    }

    /// Watches a job whose program could not be run.
    pub(in crate::jobs::supervise) fn run_none(mut self, end: End) -> io::Result<()> {
        let now = Instant::now();
        self.life.ended(now, end);
        self.life.drained(now);
        self.turn()
    }

    /// Watches a command to its end, and its output until it is delivered.
    pub(in crate::jobs::supervise) fn run(mut self, running: Running) -> io::Result<()> {
        self.pid = Some(running.pid);
        self.stdin = Stdin::new(running.stdin)?;
        for (output, pipe) in self.outputs.iter_mut().zip(running.outputs) {
            output.pipe = pipe;
        }
        self.reap(Instant::now());
        self.turn()
    }

    pub(super) fn turn(mut self) -> io::Result<()> {
        loop {
            let now = Instant::now();
            self.stop_draining(now);
            self.report();
            while let Some(action) = self.life.step(now) {
                match action {
                    Action::Terminate => self.terminate(),
                    Action::Kill => self.signal(SIGKILL),
                    Action::Leave => return self.leave(),
                }
            }
            if self.listen_at.is_some_and(|at| at <= now) {
                self.listen();
            }
            self.speak(now);
            if self.life.is_alone() {
                // So that it can be looked up meanwhile. Who comes for it is told in any case.
                let _ = self.write_down();
            }
            self.outputs.iter_mut().for_each(|output| output.look(now));
            let ready = self.wait(now)?;
            let now = Instant::now();
            for (source, flags) in ready {
                self.handle(source, flags, now);
            }
        }
    }

    /// Asks all processes of the job to end.
    pub(super) fn terminate(&self) {
        if self.is_terminal {
            // A shell that somebody types into does not listen to the other.
            self.signal(SIGHUP);
        }
        self.signal(SIGTERM);
    }

    /// Sends a signal to all processes of the job.
    pub(super) fn signal(&self, number: u8) {
        let control = self.control.as_ref().map(OwnGroup::group);
        if let Some(control) = control.filter(|_| number == SIGKILL) {
            control.kill();
        }
        tree::signal(self.group(), control, number);
    }

    /// The command's process group, which has its id; that may be another's once the command was reaped.
    pub(super) fn group(&self) -> Option<i32> {
        self.pid.filter(|_| !self.life.is_ended()).and_then(|pid| i32::try_from(pid).ok())
    }

    pub(super) fn read(&mut self, number: usize, now: Instant) {
        match self.outputs[number].read(self.directory.as_fd()) {
            Ok(Filled::Bytes(_)) => {
                if !self.outputs[number].is_closed() {
                    self.life.output(now);
                }
            }
            Ok(Filled::Nothing | Filled::Full | Filled::End) => {}
            // Output that can't be kept must not go missing behind a success.
            Err(_) => self.life.end_it(),
        }
    }

    /// Closes the outputs once their time is over, but never with something in a pipe that the command
    /// itself wrote, unless nobody will come for it.
    pub(super) fn stop_draining(&mut self, now: Instant) {
        if !self.life.is_ended() {
            return;
        }
        let over = self.life.drain_is_over(now);
        let unwanted = self.life.grace_expired(now) || over && self.life.is_stopped();
        for output in &mut self.outputs {
            if unwanted || over && output.has_what_is_owed() {
                output.close();
            }
        }
        if self.outputs.iter().all(Output::is_closed) {
            self.life.drained(now);
        }
    }

    /// Once the command is over, what is left of it is not to be ended, whatever becomes of us.
    pub(super) fn report(&mut self) {
        if self.life.is_whole() && !self.is_reported {
            self.is_reported = true;
            self.reporter.over();
        }
    }

    pub(super) fn signalled(&mut self, now: Instant) {
        let Ok(Some(info)) = self.signals.read_signal() else { return };
        if i32::try_from(info.ssi_signo) != Ok(nix::libc::SIGCHLD) {
            // The host is going down, or somebody wants us gone: not without the job. The host's first
            // process says so to all.
            let all =
                i32::try_from(info.ssi_signo) == Ok(nix::libc::SIGTERM) && info.ssi_pid == FIRST;
            self.life.stop(now, all);
            if all && self.is_terminal {
                // A shell that somebody types into did not listen.
                self.signal(SIGHUP);
            }
            return;
        }
        self.reap(now);
    }

    pub(super) fn reap(&mut self, now: Instant) {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if u32::try_from(pid.as_raw_pid()).ok() == self.pid => {
                    self.ended(end_of(status), now);
                }
                Ok(Some(_)) => {}
                Err(Errno::CHILD) => return self.life.childless(),
                Ok(None) | Err(_) => return,
            }
        }
    }

    pub(super) fn ended(&mut self, end: End, now: Instant) {
        self.life.ended(now, end);
        if !self.life.is_whole() {
            self.reporter.reaped();
        }
        self.stdin.close();
        self.outputs.iter_mut().for_each(Output::command_ended);
    }

    pub(super) fn exit(&self) -> Option<Exit> {
        let [stdout, stderr] = self.outputs.each_ref().map(Output::end);
        self.life.over().map(|end| Exit { end, output: Offsets { stdout, stderr } })
    }

    /// Writes down how it ended, once and if nobody has heard of it.
    pub(super) fn write_down(&mut self) -> io::Result<()> {
        match self.exit() {
            Some(exit) if !self.is_recorded && !self.life.is_released() => {
                self.is_recorded = true;
                Mark::Ended(exit).add(&self.record)
            }
            _ => Ok(()),
        }
    }

    pub(super) fn speak(&mut self, now: Instant) {
        let view = View {
            pid: self.pid,
            stores: self.outputs.each_ref().map(|output| &output.store),
            taken: self.stdin.taken(),
            exit: self.exit(),
        };
        let speak =
            |agent: &mut Option<AgentPeer>| agent.as_mut().map_or(Ok(()), |a| a.speak(&view));
        let lost: Vec<bool> = self.agents.iter_mut().map(|agent| speak(agent).is_err()).collect();
        for (number, _) in lost.into_iter().enumerate().filter(|(_, lost)| *lost) {
            self.lose(number, now);
        }
    }

    pub(super) fn leave(mut self) -> io::Result<()> {
        if self.listener.take().is_some() {
            directory::unlisten(self.directory.as_fd());
        }
        if !self.life.is_released() {
            // Whoever comes for it now finds how it ended, and what it wrote as far as the disk has room.
            self.outputs.iter().for_each(|output| output.keep_unread(self.directory.as_fd()));
        }
        let written = self.write_down();
        // Who follows a detached job hears of its end only now that it can be looked up.
        self.speak(Instant::now());
        let Self { outputs, directory, signals, record, agents, stdin, control, .. } = self;
        // From here on the job is nobody's. Its record is unlocked, and nothing of it is held.
        drop((record, agents, stdin, control));
        linger(outputs.into_iter().filter_map(Output::leftover).collect(), &directory, &signals);
        written
    }
}

fn end_of(status: WaitStatus) -> End {
    let byte = |number: i32| u8::try_from(number & 0xff).unwrap_or(u8::MAX);
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => End::Exited(byte(code)),
        (None, signal) => End::Signaled(byte(signal.unwrap_or_default())),
    }
}
