//! How jobs end: with complete output, and not too early.
use std::time::{Duration, Instant};

use lariat_agent::jobs::channel::{self, ToSupervisor};
use lariat_agent::jobs::{Commands, Event, Events, JobName, JobStatus, Jobs};
use lariat_base::name::KeyId;
use lariat_testing::wait::block_on;
use lariat_wire::protocol::exec::{Ack, End, Run, Streams};

use super::{Host, KEY, gather, open, shell, take};

/// The first line that a job prints, which is a process id.
async fn first_pid(events: &mut Events) -> u32 {
    let (mut said, mut buffer) = ([Vec::new(), Vec::new()], [0; 100]);
    while !said[0].ends_with(b"\n") {
        if let Event::Output(ends) = events.next().await.unwrap() {
            take(events, ends, &mut said, &mut buffer);
        }
    }
    String::from_utf8(said[0].clone()).unwrap().trim().parse().unwrap()
}

fn is_there(pid: u32) -> bool {
    std::fs::exists(format!("/proc/{pid}")).unwrap()
}

async fn exit(events: &mut Events) -> End {
    loop {
        if let Event::Exit(exit) = events.next().await.unwrap() {
            return exit.end;
        }
    }
}

async fn release(events: &mut Events, commands: &Commands) {
    commands.say(&ToSupervisor::Release(())).await.unwrap();
    while events.next().await.is_ok() {}
}

#[test]
fn a_background_child_that_holds_stdout_does_not_hang_the_caller() {
    block_on(async {
        let host = Host::new();
        let began = Instant::now();
        let (mut events, commands) = host.start(shell("sleep 1000 & echo $!"));
        let pid = first_pid(&mut events).await;
        assert_eq!(exit(&mut events).await, End::Exited(0));
        assert!(began.elapsed() < Duration::from_secs(2));
        release(&mut events, &commands).await;
        assert!(is_there(pid), "what was left behind goes on");
        super::kill(pid);
    });
}

#[test]
fn what_comes_shortly_after_the_end_is_still_read() {
    block_on(async {
        let outcome = Host::new().run(shell("(sleep 0.1; echo late) & echo early")).await;
        assert_eq!(outcome.stdout, "early\nlate\n");
    });
}

#[test]
fn a_timeout_ends_the_whole_tree_double_forks_included() {
    block_on(async {
        let host = Host::new();
        let line = "(setsid sh -c 'echo $$; exec sleep 1000' &) ; sleep 1000";
        let (mut events, commands) = host.start(Run { timeout_ms: Some(300), ..shell(line) });
        let pid = first_pid(&mut events).await;
        assert_eq!(exit(&mut events).await, End::TimedOut);
        release(&mut events, &commands).await;
        assert!(!is_there(pid));
    });
}

#[test]
fn what_ignores_sigterm_is_killed_and_nothing_is_left() {
    block_on(async {
        let host = Host::new();
        let line = "trap '' TERM; (setsid sh -c 'echo $$; while :; do sleep 1; done' &); \
                    while :; do sleep 1; done";
        let (mut events, commands) = host.start(Run { timeout_ms: Some(200), ..shell(line) });
        let pid = first_pid(&mut events).await;
        let began = Instant::now();
        assert_eq!(exit(&mut events).await, End::TimedOut);
        assert!(began.elapsed() > Duration::from_secs(4));
        release(&mut events, &commands).await;
        assert!(!is_there(pid));
    });
}

#[test]
fn a_signal_reaches_every_process_of_the_job_once() {
    block_on(async {
        let host = Host::new();
        let line = "trap 'echo outer' USR1; \
                    setsid sh -c 'trap \"echo inner; exit\" USR1; echo $$; while :; do sleep 0.05; done' & \
                    wait; wait; exit 5";
        let (mut events, commands) = host.start(shell(line));
        first_pid(&mut events).await;
        commands
            .say(&ToSupervisor::Signal(channel::Signal { number: 10, once: [0; 16] }))
            .await
            .unwrap();
        let (mut said, mut buffer, mut ends) = ([vec![], vec![]], [0; 100], Ack::default());
        let end = loop {
            match events.next().await.unwrap() {
                Event::Output(now) => ends = now,
                Event::Exit(exit) => break exit.end,
                _ => {}
            }
        };
        take(&events, ends, &mut said, &mut buffer);
        let text = String::from_utf8(said[0].clone()).unwrap();
        assert_eq!(end, End::Exited(5));
        assert_eq!(
            (text.matches("outer").count(), text.matches("inner").count()),
            (1, 1),
            "{text}"
        );
        release(&mut events, &commands).await;
    });
}

#[test]
fn sigkill_takes_all() {
    block_on(async {
        let host = Host::new();
        let (mut events, commands) =
            host.start(shell("(setsid sh -c 'echo $$; sleep 1000' &); sleep 1000"));
        let pid = first_pid(&mut events).await;
        commands
            .say(&ToSupervisor::Signal(channel::Signal { number: 9, once: [0; 16] }))
            .await
            .unwrap();
        assert_eq!(exit(&mut events).await, End::Signaled(9));
        release(&mut events, &commands).await;
        assert!(!is_there(pid));
    });
}

#[test]
fn a_kill_after_the_last_process_ended_keeps_no_supervisor() {
    block_on(async {
        for number in [9, 15] {
            let host = Host::new();
            let (mut events, commands) = host.start(shell("true"));
            assert_eq!(exit(&mut events).await, End::Exited(0));
            let signal = channel::Signal { number, once: [0; 16] };
            commands.say(&ToSupervisor::Signal(signal)).await.unwrap();
            let released = release(&mut events, &commands);
            tokio::time::timeout(Duration::from_secs(10), released).await.expect("it has left");
        }
    });
}

#[test]
fn without_its_agent_a_job_is_ended_after_the_grace_time_and_leaves_a_record() {
    block_on(async {
        let host = Host::new();
        let request =
            Run { grace_ms: 200, ..shell("(setsid sh -c 'echo $$; sleep 1000' &); sleep 1000") };
        let job = request.job;
        let (mut events, commands) = host.start(request);
        let pid = first_pid(&mut events).await;
        drop((events, commands));
        unattended(&host, job).await;
        let Some(JobStatus::Over(exit)) = found(&host.jobs, job).await else {
            panic!("it is over")
        };
        assert_eq!(exit.end, End::GraceExpired);
        assert!(!is_there(pid));
    });
}

/// The status of a job.
async fn found(jobs: &Jobs, job: lariat_base::name::JobId) -> Option<JobStatus> {
    jobs.find(Some(KEY), job).await.unwrap().map(|found| found.status)
}

/// Waits until the supervisor of an unattended job has ended, without looking the job up, which would attend
/// it.
async fn unattended(host: &Host, job: lariat_base::name::JobId) {
    let directory = host.state.path().join("jobs").join(JobName { key: KEY, id: job }.to_string());
    let (record, socket) = (directory.join("record"), directory.join("socket"));
    let before = std::fs::metadata(&record).unwrap().len();
    while std::fs::metadata(&record).unwrap().len() == before || socket.exists() {
        tokio::task::yield_now().await;
    }
}

#[test]
fn another_agent_takes_over_where_the_first_stopped() {
    block_on(async {
        let host = Host::new();
        let streams = Streams::Followed { stdin: true };
        let request =
            Run { streams, ..shell("echo one; read x; echo got $x; echo two >&2; exit 7") };
        let job = request.job;
        let (mut events, commands) = host.start(request);
        while !matches!(events.next().await.unwrap(), Event::Output(_)) {}
        // The agent dies before it has acknowledged anything.
        drop((events, commands, host.jobs));
        let jobs = open(host.state.path());
        assert!(
            jobs.find(Some(KeyId([2; 16])), job).await.unwrap().is_none(),
            "it is another key's"
        );
        let Some(JobStatus::Alive(mut events, commands, stands)) = found(&jobs, job).await else {
            panic!("it is not there")
        };
        commands.say(&ToSupervisor::Follow(())).await.unwrap();
        assert_eq!(
            (stands.from, stands.upto),
            (Ack::default().into(), Ack { stdout: 4, stderr: 0 }.into())
        );
        commands.stdin(0, b"it\n").await.unwrap();
        let outcome = gather(&mut events, &commands).await.unwrap();
        assert_eq!(outcome.stdout, "one\ngot it\n");
        assert_eq!((outcome.stderr.as_str(), outcome.end), ("two\n", End::Exited(7)));
        release(&mut events, &commands).await;
        jobs.forget(JobName { key: KEY, id: job }).unwrap();
        assert!(found(&jobs, job).await.is_none());
    });
}

/// Supervisors among the children of this process that have ended and were not reaped.
fn zombies() -> usize {
    let own = format!(") Z {} ", std::process::id());
    let stats = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| std::fs::read_to_string(entry.unwrap().path().join("stat")).ok());
    stats.filter(|stat| stat.contains("(lariat-job") && stat.contains(&own)).count()
}

#[test]
fn many_at_once_leave_no_zombie_and_no_descriptor() {
    block_on(async {
        let host = Host::new();
        let open = || {
            std::fs::read_dir("/proc/self/fd")
                .unwrap()
                .filter(|entry| {
                    // Other tests have descriptors too: only sockets and files in memory could be ours.
                    let link =
                        std::fs::read_link(entry.as_ref().unwrap().path()).unwrap_or_default();
                    link.to_string_lossy().contains(host.state.path().to_str().unwrap())
                })
                .count()
        };
        let before = open();
        let jobs: Vec<_> = (0..60)
            .map(|number| {
                let request = shell(&format!("echo {number}; exit {number}"));
                (number, request.job, host.start(request))
            })
            .collect();
        for (number, job, (mut events, commands)) in jobs {
            let outcome = gather(&mut events, &commands).await.unwrap();
            assert_eq!((outcome.stdout, outcome.end), (format!("{number}\n"), End::Exited(number)));
            release(&mut events, &commands).await;
            host.jobs.release(JobName { key: KEY, id: job }).unwrap();
        }
        assert_eq!(open(), before);
        let until = Instant::now() + Duration::from_secs(10);
        while zombies() > 0 {
            assert!(Instant::now() < until, "{} zombies", zombies());
            tokio::task::yield_now().await;
        }
    });
}
