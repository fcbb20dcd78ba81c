//! The agent's jobs under the real supervisor, without a network.

mod commands;
mod endings;
mod streams;

use std::path::Path;
use std::time::Duration;

use lariat_agent::core::ActAs;
use lariat_agent::jobs::channel::{ChannelError, ToSupervisor};
use lariat_agent::jobs::{Commands, Event, Events, JobName, Jobs, Settings, Stream};
use lariat_agent::user::User;
use lariat_base::name::{BootId, JobId, KeyId};
use lariat_testing::binaries::binaries;
use lariat_wire::protocol::exec::{Ack, Command, End, Exit, Run, Streams};
use lariat_wire::protocol::failure::Failure;

pub(crate) const KEY: KeyId = KeyId([1; 16]);

/// A state directory and the jobs in it. Use it within a runtime.
pub(crate) struct Host {
    pub(crate) state: tempfile::TempDir,
    pub(crate) jobs: Jobs,
}

/// The output of a command, and how it ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) end: End,
}

impl Host {
    pub(crate) fn new() -> Self {
        let state = tempfile::tempdir().unwrap();
        let jobs = open(state.path());
        Self { state, jobs }
    }

    /// Starts a command.
    pub(crate) fn start(&self, run: Run) -> (Events, Commands) {
        self.jobs.start(KEY, run, &me(), None, None, false).unwrap()
    }

    /// Runs a command to its end.
    pub(crate) async fn run(&self, run: Run) -> Outcome {
        let job = run.job;
        let (mut events, commands) = self.start(run);
        let outcome = gather(&mut events, &commands).await.unwrap();
        commands.say(&ToSupervisor::Release(())).await.unwrap();
        // The supervisor's end of the socket closes when it ends.
        assert!(matches!(events.next().await, Err(ChannelError::Gone | ChannelError::Io(_))));
        self.jobs.release(JobName { key: KEY, id: job }).unwrap();
        assert_eq!(std::fs::read_dir(self.state.path().join("jobs")).unwrap().count(), 0);
        outcome
    }
}

/// The user that commands run as: this process's own, under another name.
pub(crate) fn me() -> ActAs {
    ActAs::Agent(User {
        uid: 0,
        gid: 0,
        name: b"me".to_vec(),
        home: b"/".to_vec(),
        shell: b"/bin/sh".to_vec(),
    })
}

pub(crate) fn open(state: &Path) -> Jobs {
    let settings = Settings {
        tasks_max: 1000,
        memory_max: u64::MAX,
        supervisor: binaries().lariatd.clone(),
        host: "web1".parse().unwrap(),
        path: b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_vec(),
        lang: b"C.UTF-8".to_vec(),
        max_grace: Duration::from_secs(600),
        log_limit: 1024 * 1024,
        output: 1024 * 1024 * 1024,
        keep: Duration::from_secs(3600),
        boot: BootId([9; 16]),
    };
    Jobs::open(state, settings).unwrap()
}

/// A request to run a line, in `/`, without stdin.
pub(crate) fn shell(line: &str) -> Run {
    Run {
        job: JobId::generate().unwrap(),
        command: Command::Shell(line.into()),
        user: None,
        cwd: None,
        env: vec![],
        streams: Streams::Followed { stdin: false },
        timeout_ms: None,
        grace_ms: 5_000,
    }
}

pub(crate) fn argv(words: &[&str]) -> Run {
    let words = words.iter().map(|word| word.as_bytes().to_vec()).collect();
    Run { command: Command::Argv(words), ..shell("") }
}

/// Reads everything up to the exit, acknowledging it as it arrives.
pub(crate) async fn gather(events: &mut Events, commands: &Commands) -> Result<Outcome, Failure> {
    let (mut said, mut buffer) = ([Vec::new(), Vec::new()], vec![0; 65536]);
    loop {
        match events.next().await.unwrap() {
            Event::Started(_) | Event::StdinTaken(_) => {}
            Event::Failed(failure) => return Err(failure),
            Event::Output(ends) => {
                take(events, ends, &mut said, &mut buffer);
                commands.say(&ToSupervisor::Ack(ends.into())).await.unwrap();
            }
            Event::OutputRange(_) | Event::Replaced => panic!("another is there"),
            Event::Exit(Exit { end, stdout, stderr }) => {
                assert_eq!(said.each_ref().map(|bytes| bytes.len() as u64), [stdout, stderr]);
                let [stdout, stderr] = said.map(|bytes| String::from_utf8(bytes).unwrap());
                return Ok(Outcome { stdout, stderr, end });
            }
        }
    }
}

/// Reads both streams up to `ends`.
pub(crate) fn take(events: &Events, ends: Ack, said: &mut [Vec<u8>; 2], buffer: &mut [u8]) {
    for (stream, upto) in Stream::ALL.into_iter().zip([ends.stdout, ends.stderr]) {
        let said = &mut said[stream as usize];
        while (said.len() as u64) < upto {
            let len = events.read(stream, said.len() as u64, upto, buffer).unwrap();
            said.extend_from_slice(&buffer[..len]);
        }
    }
}

/// Ends a process that a test has left behind on purpose.
pub(crate) fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

/// Memory of the supervisor that is the parent of this command, in KiB: all of it, and the anonymous part.
pub(crate) fn memory(command: u32) -> [u64; 2] {
    let status = |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = |text: &str, name: &str| -> String {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().to_owned()
    };
    let supervisor = status(&field(&status(&command.to_string()), "PPid:"));
    ["VmRSS:", "RssAnon:"].map(|name| field(&supervisor, name).parse().unwrap())
}
