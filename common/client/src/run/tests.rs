//! One connection of a job against an agent that is played here, over small buffers.

use lariat_wire::limits::STDIN_CREDIT;
use lariat_wire::link::{Frame, Link, LinkError};
use lariat_wire::protocol::exec::{Ack, End, Exit, Signal, Started, StdinEnd, StdinTaken};
use lariat_wire::protocol::{Kind, Message};
use tokio::io::{AsyncReadExt, DuplexStream, duplex};
use tokio::time::timeout;

use super::session::follow;
use super::*;
use crate::broken::Broken;

type Agent = Link<DuplexStream>;

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().start_paused(true).build().unwrap().block_on(work)
}

fn ended(stdout: u64, stderr: u64) -> Exit {
    Exit { end: End::Exited(3), stdout, stderr }
}

/// Sends output. A controller that has had enough of us may be gone already.
async fn bulk(agent: &mut Agent, kind: Kind, offset: u64, bytes: &[u8]) {
    let _ = agent.writer.bulk(kind, &offset.to_le_bytes(), bytes).await;
}

/// The next message of one kind; acknowledgements may come at any time.
async fn next<M: Message>(agent: &mut Agent) -> M {
    loop {
        let frame = agent.next().await.unwrap().unwrap();
        if frame.kind == M::KIND {
            return agent.reader.message().unwrap();
        }
        assert_eq!(frame.kind, Kind::Ack);
    }
}

/// What a controller that only listens makes of what `agent` does.
fn heard(play: impl AsyncFnOnce(&mut Agent)) -> (Result<Exit, Broken>, Vec<u8>, Vec<u8>) {
    block_on(async {
        let (ours, theirs) = duplex(16);
        let (mut link, mut agent) = (Link::new(ours), Link::new(theirs));
        let job = Job::new(Vec::new(), Vec::new());
        let agent = async {
            play(&mut agent).await;
            let _ = agent.writer.finish().await;
            while let Ok(Some(Frame { .. })) = agent.next().await {}
        };
        let follow = async {
            let result = follow(&mut link, &job).await;
            drop(link);
            result
        };
        let (result, ()) = tokio::join!(follow, agent);
        let (stdout, stderr) = job.into_outputs();
        (result, stdout, stderr)
    })
}

#[test]
fn bytes_come_through_exactly_and_the_end_is_acknowledged() {
    let (result, stdout, stderr) = heard(async |agent| {
        agent.send(&Started { pid: 1 }).await.unwrap();
        bulk(agent, Kind::Stdout, 0, b"a\x00\xff").await;
        bulk(agent, Kind::Stderr, 0, b"e").await;
        bulk(agent, Kind::Stdout, 3, &vec![7; 100_000]).await;
        agent.send(&ended(100_003, 1)).await.unwrap();
        while next::<Ack>(agent).await != (Ack { stdout: 100_003, stderr: 1 }) {}
    });
    assert_eq!(result.unwrap().end, End::Exited(3));
    assert_eq!((stdout.len(), &stdout[..4]), (100_003, &b"a\x00\xff\x07"[..]));
    assert_eq!(stderr, b"e");
}

#[test]
fn what_is_not_whole_is_an_error() {
    let misbehaved = |result| {
        matches!(result, Err(Broken::Link(LinkError::Misbehaved(_) | LinkError::Codec(_))))
    };
    let gap = heard(async |agent| bulk(agent, Kind::Stdout, 1, b"x").await);
    assert!(misbehaved(gap.0));
    let short = heard(async |agent| agent.writer.bulk(Kind::Stdout, &[], &[0; 7]).await.unwrap());
    assert!(misbehaved(short.0));
    let missing = heard(async |agent| agent.send(&ended(1, 0)).await.unwrap());
    assert!(misbehaved(missing.0));
    let taken = StdinTaken { upto: 1, closed: false };
    let taken = heard(async |agent| agent.send(&taken).await.unwrap());
    assert!(misbehaved(taken.0));
    let cut = heard(async |agent| agent.send(&Started { pid: 1 }).await.unwrap());
    assert!(matches!(cut.0, Err(Broken::Link(LinkError::Cut))));
    let failure = not_run_failure();
    let failed = heard(async |agent| agent.send(&failure).await.unwrap());
    assert!(matches!(failed.0, Err(Broken::Failed(f)) if f == failure));
}

fn not_run_failure() -> Failure {
    Failure { action: Action::EnterDirectory, path: Some(b"/no".to_vec()), cause: Cause::Os(2) }
}

/// Takes stdin as a host does, `slow` bytes of it at a time, and gives all of it.
async fn take_stdin(agent: &mut Agent, slow: u64) -> Vec<u8> {
    let (mut got, mut taken) = (Vec::new(), 0);
    loop {
        let frame = agent.next().await.unwrap().unwrap();
        match frame.kind {
            Kind::Stdin => {
                let offset = u64::from_le_bytes(agent.reader.bulk_array().await.unwrap());
                assert_eq!(offset, got.len() as u64);
                let mut bytes = vec![0; agent.reader.bulk_left()];
                agent.reader.bulk(&mut bytes).await.unwrap();
                got.extend(bytes);
                let have = got.len() as u64;
                assert!(have - taken <= STDIN_CREDIT);
                if have - taken >= slow {
                    taken = have;
                    let taken = StdinTaken { upto: have, closed: false };
                    agent.outbox().post(&taken).unwrap();
                }
            }
            Kind::StdinEnd => {
                let end: StdinEnd = agent.reader.message().unwrap();
                assert_eq!(end.len, got.len() as u64);
                return got;
            }
            kind => assert_eq!(kind, Kind::Ack),
        }
    }
}

#[test]
fn stdin_goes_under_credit_and_not_before_the_command_runs() {
    block_on(async {
        let (ours, theirs) = duplex(4096);
        let (mut link, mut agent) = (Link::new(ours), Link::new(theirs));
        let job = Job::new(Vec::new(), Vec::new());
        let stdin: Vec<u8> = (0..1_000_000_u32).map(|i| i.to_le_bytes()[1]).collect();
        let play = async {
            let early = timeout(Duration::from_secs(1), agent.next()).await;
            assert!(early.is_err());
            agent.send(&Started { pid: 1 }).await.unwrap();
            let got = take_stdin(&mut agent, STDIN_CREDIT / 2).await;
            agent.send(&ended(0, 0)).await.unwrap();
            while agent.next().await.unwrap_or(None).is_some() {}
            got
        };
        let follow = async {
            let result = follow(&mut link, &job).await;
            link.writer.finish().await.unwrap();
            result
        };
        tokio::select! {
            (result, got) = async { tokio::join!(follow, play) } => {
                assert!(result.is_ok());
                assert!(got == stdin);
            }
            () = abandon(&job, Some(&stdin[..])) => unreachable!(),
            () = drain(&job) => unreachable!(),
        }
    });
}

#[test]
fn an_unread_stdout_holds_up_neither_stderr_nor_stdin_nor_signals() {
    block_on(async {
        let (ours, theirs) = duplex(4096);
        let (mut link, mut agent) = (Link::new(ours), Link::new(theirs));
        let (stdout, mut reader) = duplex(16);
        let (stderr, mut errors) = duplex(16);
        let job = Job::new(stdout, stderr);
        let out = vec![9; output::QUEUE];
        let play = async {
            agent.send(&Started { pid: 1 }).await.unwrap();
            for (number, piece) in out.chunks(200_000).enumerate() {
                bulk(&mut agent, Kind::Stdout, number as u64 * 200_000, piece).await;
            }
            bulk(&mut agent, Kind::Stderr, 0, b"still here").await;
            let got = take_stdin(&mut agent, 1).await;
            job.signal(signals::SIGINT);
            assert_eq!(next::<Signal>(&mut agent).await, Signal { number: 2 });
            agent.send(&ended(out.len() as u64, 10)).await.unwrap();
            while agent.next().await.unwrap_or(None).is_some() {}
            got
        };
        let follow = async {
            let result = follow(&mut link, &job).await;
            link.writer.finish().await.unwrap();
            result
        };
        let read = async {
            let mut seen = [0; 10];
            errors.read_exact(&mut seen).await.unwrap();
            assert_eq!(&seen, b"still here");
            // Longer than any silence that an end may keep.
            tokio::time::sleep(Duration::from_secs(100)).await;
            let mut all = vec![0; out.len()];
            reader.read_exact(&mut all).await.unwrap();
            assert!(all == out);
        };
        let stdin = vec![3; 600_000];
        tokio::select! {
            (result, got, ()) = async { tokio::join!(follow, play, read) } => {
                assert!(result.is_ok());
                assert!(got == stdin);
            }
            () = abandon(&job, Some(&stdin[..])) => unreachable!(),
            () = drain(&job) => unreachable!(),
        }
    });
}

#[test]
fn a_reader_that_goes_away_ends_the_command() {
    block_on(async {
        let (ours, theirs) = duplex(4096);
        let (mut link, mut agent) = (Link::new(ours), Link::new(theirs));
        let (stdout, mut reader) = duplex(16);
        let job = Job::new(stdout, Vec::new());
        let play = async {
            agent.send(&Started { pid: 1 }).await.unwrap();
            bulk(&mut agent, Kind::Stdout, 0, &vec![b'y'; 50_000]).await;
            assert_eq!(next::<Signal>(&mut agent).await, Signal { number: 13 });
            bulk(&mut agent, Kind::Stdout, 50_000, &vec![b'y'; 50_000]).await;
            agent.send(&ended(100_000, 0)).await.unwrap();
            while agent.next().await.unwrap_or(None).is_some() {}
        };
        let follow = async {
            let result = follow(&mut link, &job).await;
            link.writer.finish().await.unwrap();
            result
        };
        let head = async {
            reader.read_exact(&mut [0; 2]).await.unwrap();
            drop(reader);
        };
        tokio::select! {
            (result, (), ()) = async { tokio::join!(follow, play, head) } => {
                assert!(result.is_ok());
            }
            () = abandon(&job, None::<&[u8]>) => panic!("the command's end was not waited for"),
            () = drain(&job) => unreachable!(),
        }
        assert!(matches!(local_error(&job), Some(Outcome::NoReader)));
    });
}
