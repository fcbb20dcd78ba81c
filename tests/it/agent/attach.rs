//! Coming back to a job: at the exact byte, with its own key only, and without running it twice.

use lariat_base::name::JobId;
use lariat_testing::bare_agent::{BareAgent, Setup};
use lariat_testing::wait::block_on;
use lariat_wire::link::{Link, message_frame};
use lariat_wire::protocol::exec::{
    Ack, Attach, Command, End, Exit, Release, Run, Signal, Started, StdinEnd, Streams,
};
use lariat_wire::protocol::failure::{Cause, Failure};
use lariat_wire::protocol::{Kind, Message};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

type AgentLink = Link<TlsStream<TcpStream>>;

const JOB: JobId = JobId([1; 16]);

fn run(line: &str) -> Run {
    Run {
        job: JOB,
        command: Command::Shell(line.into()),
        user: None,
        cwd: None,
        env: Vec::new(),
        streams: Streams::Followed { stdin: true },
        timeout_ms: None,
        grace_ms: 10_000,
    }
}

fn attach(stdout: u64) -> Attach {
    Attach { job: JOB, received: Some(Ack { stdout, stderr: 0 }) }
}

fn agent() -> BareAgent {
    BareAgent::with(Setup { verbs: "\"run\"", ..Setup::default() })
}

async fn asked<M: Message>(agent: &BareAgent, request: &M) -> AgentLink {
    agent.log_in_with(&message_frame(1, request).unwrap()).await.unwrap().0
}

/// The kind of the next frame that is not about stdin.
async fn kind(link: &mut AgentLink) -> Kind {
    loop {
        match link.next().await.unwrap().unwrap().kind {
            Kind::StdinTaken => {}
            kind => return kind,
        }
    }
}

async fn exit(link: &mut AgentLink) -> Exit {
    assert_eq!(kind(link).await, Kind::Exit);
    link.reader.message().unwrap()
}

/// The next bytes of stdout, which begin at this offset.
async fn stdout(link: &mut AgentLink, offset: u64) -> Vec<u8> {
    assert_eq!(kind(link).await, Kind::Stdout);
    assert_eq!(u64::from_le_bytes(link.reader.bulk_array().await.unwrap()), offset);
    let mut bytes = vec![0; link.reader.bulk_left()];
    link.reader.bulk(&mut bytes).await.unwrap();
    bytes
}

#[test]
fn who_comes_back_goes_on_at_the_very_byte() {
    let agent = agent();
    block_on(async {
        let mut link = asked(&agent, &run("echo hello; cat; exit 3")).await;
        let started = link.expect::<Started>().await.unwrap();
        assert_eq!(stdout(&mut link, 0).await, b"hello\n");
        drop(link);
        // Nothing was acknowledged, and two bytes have arrived.
        let mut link = asked(&agent, &attach(2)).await;
        assert_eq!(link.expect::<Started>().await.unwrap(), started);
        assert_eq!(stdout(&mut link, 2).await, b"llo\n");
        link.outbox().post(&Ack { stdout: 4, stderr: 0 }).unwrap();
        link.writer.bulk(Kind::Stdin, &0_u64.to_le_bytes(), b"in").await.unwrap();
        assert_eq!(stdout(&mut link, 6).await, b"in");
        drop(link);
        // The same request again does not run a second command.
        let mut link = asked(&agent, &run("echo other")).await;
        assert_eq!(link.expect::<Failure>().await.unwrap().cause, Cause::Forgotten);
        let mut link = asked(&agent, &attach(8)).await;
        link.expect::<Started>().await.unwrap();
        link.writer.bulk(Kind::Stdin, &0_u64.to_le_bytes(), b"input").await.unwrap();
        link.outbox().post(&StdinEnd { len: 5 }).unwrap();
        let mut rest = Vec::new();
        let exit = loop {
            match kind(&mut link).await {
                Kind::Stdout => {
                    let offset = u64::from_le_bytes(link.reader.bulk_array().await.unwrap());
                    assert_eq!(offset, 8 + rest.len() as u64);
                    let mut bytes = vec![0; link.reader.bulk_left()];
                    link.reader.bulk(&mut bytes).await.unwrap();
                    rest.extend(bytes);
                }
                Kind::Exit => break link.reader.message::<Exit>().unwrap(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(rest, b"put");
        assert_eq!(exit, Exit { end: End::Exited(3), stdout: 11, stderr: 0 });
    });
}

#[test]
fn what_is_over_is_kept_until_it_is_released_and_its_id_for_good() {
    let agent = agent();
    block_on(async {
        let mut link = asked(&agent, &run("printf x")).await;
        link.expect::<Started>().await.unwrap();
        assert_eq!(stdout(&mut link, 0).await, b"x");
        let ended = exit(&mut link).await;
        drop(link);
        // The last frames were lost.
        let mut link = asked(&agent, &attach(1)).await;
        link.expect::<Started>().await.unwrap();
        assert_eq!(exit(&mut link).await, ended);
        link.outbox().post(&Ack { stdout: 1, stderr: 0 }).unwrap();
        link.outbox().post(&Release).unwrap();
        for _ in 0..2 {
            link.ask(&attach(1)).await.unwrap();
            let failure = link.expect::<Failure>().await.unwrap();
            assert!(matches!(failure.cause, Cause::NoSuchJob { up_ms: 1.. }), "{failure}");
            link.ask(&run("echo again")).await.unwrap();
            let failure = link.expect::<Failure>().await.unwrap();
            assert_eq!(failure.to_string(), "start: this job id is taken");
        }
    });
}

#[test]
fn a_job_that_runs_can_not_be_released() {
    let agent = agent();
    block_on(async {
        let mut link = asked(&agent, &run("exec sleep 300")).await;
        link.expect::<Started>().await.unwrap();
        link.send(&Release).await.unwrap();
        assert!(matches!(link.next().await, Ok(None) | Err(_)), "the session is over");
        let mut link = asked(&agent, &attach(0)).await;
        link.expect::<Started>().await.unwrap();
        link.send(&Signal { number: 9 }).await.unwrap();
        assert_eq!(exit(&mut link).await.end, End::Signaled(9));
    });
}

#[test]
fn a_job_is_its_own_keys_and_to_others_as_if_it_were_not_there() {
    let agent = agent();
    block_on(async {
        let mut link = asked(&agent, &run("cat")).await;
        link.expect::<Started>().await.unwrap();
        let request = message_frame(1, &attach(0)).unwrap();
        let (mut other, _) = agent.log_in_as(&agent.other_key, &request).await.unwrap();
        let failure = other.expect::<Failure>().await.unwrap();
        assert!(matches!(failure.cause, Cause::NoSuchJob { .. }));
        other.ask(&run("echo mine")).await.unwrap();
        other.expect::<Started>().await.unwrap();
        assert_eq!(stdout(&mut other, 0).await, b"mine\n");
        // None of the attempts has affected the job.
        link.writer.bulk(Kind::Stdin, &0_u64.to_le_bytes(), b"in").await.unwrap();
        assert_eq!(stdout(&mut link, 0).await, b"in");
    });
}

#[test]
fn the_newest_has_the_job_and_the_one_before_is_told() {
    let agent = agent();
    block_on(async {
        let mut before = asked(&agent, &run("cat")).await;
        before.expect::<Started>().await.unwrap();
        let mut link = asked(&agent, &attach(0)).await;
        link.expect::<Started>().await.unwrap();
        assert_eq!(before.expect::<Failure>().await.unwrap().cause, Cause::Superseded);
        link.writer.bulk(Kind::Stdin, &0_u64.to_le_bytes(), b"in").await.unwrap();
        assert_eq!(stdout(&mut link, 0).await, b"in");
    });
}

#[test]
fn offsets_that_make_no_sense_are_refused_and_the_session_goes_on() {
    let agent = agent();
    block_on(async {
        let mut link = asked(&agent, &run("cat")).await;
        link.expect::<Started>().await.unwrap();
        let mut link = asked(&agent, &attach(u64::MAX)).await;
        assert_eq!(link.expect::<Failure>().await.unwrap().cause, Cause::Forgotten);
        link.ask(&attach(0)).await.unwrap();
        link.expect::<Started>().await.unwrap();
    });
}
