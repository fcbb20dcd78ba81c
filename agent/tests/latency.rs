//! How long a job takes, how fast output passes, and what a supervisor weighs. Figures to read, not to
//! pass: `cargo test --release -p lariat-agent --test latency -- --ignored --nocapture`.
#![allow(clippy::unwrap_used, reason = "a test's helpers may fail it")]

mod support;

use std::time::{Duration, Instant};

use lariat_agent::jobs::channel::ToSupervisor;
use lariat_agent::jobs::{Event, Stream};
use lariat_common::protocol::exec::{Ack, Run, StdinEnd};

use support::{Host, argv, block_on, memory, shell};

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[test]
#[ignore = "figures"]
fn a_job_from_its_request_to_its_exit() {
    block_on(async {
        let host = Host::new();
        for request in [argv(&["true"]), shell("true"), shell("echo hello")] {
            let (mut started, mut exited, mut over) = (vec![], vec![], vec![]);
            for _ in 0..300 {
                let job = lariat_common::name::JobId::generate().unwrap();
                let began = Instant::now();
                let (mut ear, mouth) = host.start(Run { job, ..request.clone() });
                loop {
                    match ear.next().await.unwrap() {
                        Event::Started(_) => started.push(began.elapsed()),
                        Event::Exit(_) => break,
                        _ => {}
                    }
                }
                exited.push(began.elapsed());
                mouth.say(&ToSupervisor::Release).await.unwrap();
                host.jobs.forget(job).unwrap();
                while ear.next().await.is_ok() {}
                over.push(began.elapsed());
            }
            let [started, exited, over] = [started, exited, over].map(median);
            println!("{:?}: started {started:?}, exit {exited:?}, gone {over:?}", request.command);
        }
        let mut bare = vec![];
        for _ in 0..300 {
            let began = Instant::now();
            std::process::Command::new("/bin/true").status().unwrap();
            bare.push(began.elapsed());
        }
        println!("/bin/true by itself: {:?}", median(bare));
        let mut bare = vec![];
        for _ in 0..300 {
            let began = Instant::now();
            let mut lariatd = std::process::Command::new(env!("CARGO_BIN_EXE_lariatd"));
            let null = std::process::Stdio::null;
            lariatd.arg("supervise").stdin(null()).stdout(null()).stderr(null());
            lariatd.env_clear().status().unwrap();
            bare.push(began.elapsed());
        }
        println!("lariatd that finds no agent: {:?}", median(bare));
        let (mut ear, _mouth) = host.start(argv(&["sleep", "1000"]));
        let Event::Started(started) = ear.next().await.unwrap() else { panic!("not started") };
        println!("idle supervisor [all, own] KiB: {:?}", memory(started.pid));
        support::kill(started.pid);
    });
}

#[test]
#[ignore = "figures"]
fn bytes_a_second() {
    block_on(async {
        let host = Host::new();
        let total = 4_000_000_000_u64;
        let (mut ear, mouth) = host.start(shell(&format!("head -c {total} /dev/zero")));
        let (mut acked, mut buffer) = (Ack::default(), vec![0; 1 << 18]);
        let began = Instant::now();
        while acked.stdout < total {
            let Event::Output(ends) = ear.next().await.unwrap() else { continue };
            while acked.stdout < ends.stdout {
                acked.stdout += ear
                    .read(Stream::Stdout, acked.stdout, ends.stdout, &mut buffer)
                    .unwrap() as u64;
            }
            mouth.say(&ToSupervisor::Ack(acked)).await.unwrap();
        }
        println!(
            "out: {} MB/s",
            total / 1000 / u64::try_from(began.elapsed().as_millis()).unwrap()
        );

        let (mut ear, mouth) = host.start(Run { stdin: true, ..shell("cat >/dev/null") });
        let total = 2_000_000_000_u64;
        let (mut sent, mut taken) = (0, 0);
        let began = Instant::now();
        while taken < total {
            let ready = sent < total && sent + 65536 <= taken + 262_144;
            if ready {
                let len = (total - sent).min(65536);
                mouth.stdin(sent, &buffer[..usize::try_from(len).unwrap()]).await.unwrap();
                sent += len;
            } else if let Event::StdinTaken(now) = ear.next().await.unwrap() {
                taken = now.upto;
            }
        }
        println!("in: {} MB/s", total / 1000 / u64::try_from(began.elapsed().as_millis()).unwrap());
        mouth.say(&ToSupervisor::StdinEnd(StdinEnd { len: total })).await.unwrap();
        while !matches!(ear.next().await.unwrap(), Event::Exit(_)) {}
    });
}
