//! Detached jobs on the wire: they belong to their key, and do not exist for any other.

use lariat_base::name::JobId;
use lariat_testing::bare_agent::{BareAgent, Setup};
use lariat_testing::wait::block_on;
use lariat_wire::link::{Link, message_frame};
use lariat_wire::protocol::Kind;
use lariat_wire::protocol::exec::{
    Ack, Attach, Command, Exit, Release, Run, Signal, Started, Streams,
};
use lariat_wire::protocol::failure::{Cause, Failure};
use lariat_wire::protocol::job::{Kill, Killed, List, Listed, Logs, LogsEnd, Reading, Start};
use lariat_wire::protocol::verb::Verb;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

const JOB: JobId = JobId([0x1d; 16]);

fn detached(line: &str) -> Run {
    Run {
        job: JOB,
        command: Command::Shell(line.into()),
        user: None,
        cwd: None,
        env: Vec::new(),
        streams: Streams::Detached,
        timeout_ms: None,
        grace_ms: 0,
    }
}

fn list(prefix: &str) -> List {
    List { prefix: prefix.to_owned(), all_keys: false }
}

#[test]
fn the_answer_to_its_request_is_that_it_was_started_however_often_that_is_asked() {
    let agent = BareAgent::with(Setup { verbs: "\"run\", \"jobs\"", ..Setup::default() });
    block_on(async {
        let frame = message_frame(1, &detached("exec sleep 300")).unwrap();
        let mut link = agent.log_in_with(&frame).await.unwrap().0;
        let started = link.expect::<Started>().await.unwrap();
        link.ask(&detached("echo another")).await.unwrap();
        assert_eq!(link.expect::<Started>().await.unwrap(), started);
        link.ask(&Attach { job: JOB, received: Some(Ack { stdout: 7, stderr: 7 }) }).await.unwrap();
        assert_eq!(link.expect::<Started>().await.unwrap(), started);
        link.ask(&list("1d1")).await.unwrap();
        let listed = link.expect::<Listed>().await.unwrap();
        assert_eq!(
            (listed.jobs.len(), listed.jobs[0].command.as_slice()),
            (1, &b"exec sleep 300"[..])
        );
        for (prefix, jobs) in [("1e", 0), ("", 1)] {
            link.ask(&list(prefix)).await.unwrap();
            assert_eq!(link.expect::<Listed>().await.unwrap().jobs.len(), jobs);
        }
        link.ask(&list("../")).await.unwrap();
        assert!(matches!(link.expect::<Failure>().await.unwrap().cause, Cause::BadRequest(_)));
        link.ask(&Kill { job: JOB, signal: Signal { number: 65 }, once: [0; 16], all_keys: false })
            .await
            .unwrap();
        assert!(matches!(link.expect::<Failure>().await.unwrap().cause, Cause::BadRequest(_)));
        link.ask(&Kill { job: JOB, signal: Signal { number: 9 }, once: [1; 16], all_keys: false })
            .await
            .unwrap();
        link.expect::<Killed>().await.unwrap();
    });
}

#[test]
fn to_another_key_it_is_as_if_it_were_not_there() {
    let agent = BareAgent::with(Setup { verbs: "\"run\", \"jobs\"", ..Setup::default() });
    block_on(async {
        let frame = message_frame(1, &detached("echo secret; exec sleep 300")).unwrap();
        let mut link = agent.log_in_with(&frame).await.unwrap().0;
        link.expect::<Started>().await.unwrap();
        let frame = message_frame(1, &list("")).unwrap();
        let (mut other, _) = agent.log_in_as(&agent.other_key, &frame).await.unwrap();
        assert_eq!(other.expect::<Listed>().await.unwrap(), Listed { jobs: vec![], more: false });
        for job in [JOB, JobId([0; 16])] {
            other
                .ask(&Logs { job, from: Start::Beginning, follow: true, all_keys: false })
                .await
                .unwrap();
            let failure = other.expect::<Failure>().await.unwrap();
            assert!(matches!(failure.cause, Cause::NoSuchJob { .. }), "{failure}");
            other
                .ask(&Kill { job, signal: Signal { number: 9 }, once: [2; 16], all_keys: false })
                .await
                .unwrap();
            let failure = other.expect::<Failure>().await.unwrap();
            assert!(matches!(failure.cause, Cause::NoSuchJob { .. }), "{failure}");
            other.ask(&Attach { job, received: Some(Ack::default()) }).await.unwrap();
            let failure = other.expect::<Failure>().await.unwrap();
            assert!(matches!(failure.cause, Cause::NoSuchJob { .. }), "{failure}");
        }
        // None of the attempts has affected the job.
        link.ask(&Kill { job: JOB, signal: Signal { number: 15 }, once: [3; 16], all_keys: false })
            .await
            .unwrap();
        link.expect::<Killed>().await.unwrap();
    });
}

/// Everything that a job has written and that is kept, once it has ended.
async fn log_of(link: &mut Link<TlsStream<TcpStream>>, all_keys: bool) -> String {
    let from = Start::Beginning;
    link.ask(&Logs { job: JOB, from, follow: true, all_keys }).await.unwrap();
    link.expect::<Reading>().await.unwrap();
    let mut text = Vec::new();
    loop {
        if link.next().await.unwrap().unwrap().kind != Kind::Stdout {
            link.reader.message::<LogsEnd>().unwrap();
            return String::from_utf8(text).unwrap();
        }
        let mut frame = vec![0; link.reader.bulk_left()];
        link.reader.bulk(&mut frame).await.unwrap();
        text.extend_from_slice(&frame[8..]);
    }
}

#[test]
fn an_id_that_another_key_has_is_free() {
    let verbs = "\"run\", \"jobs\"";
    let other_verbs = Some("\"run\", \"jobs\", \"keys\"");
    let setup = Setup { verbs, other_verbs, more_keys: 1, ..Setup::default() };
    let agent = BareAgent::with(setup);
    block_on(async {
        let mut links = Vec::new();
        for (key, line) in [(&agent.key, "echo first"), (&agent.more_keys[0], "echo second")] {
            let frame = message_frame(1, &detached(line)).unwrap();
            let (mut link, _) = agent.log_in_as(key, &frame).await.unwrap();
            link.expect::<Started>().await.unwrap();
            links.push(link);
        }
        for (link, text) in links.iter_mut().zip(["first\n", "second\n"]) {
            assert_eq!(log_of(link, false).await, text);
            link.ask(&list("")).await.unwrap();
            assert_eq!(link.expect::<Listed>().await.unwrap().jobs.len(), 1);
        }
        // One that may see everybody's sees both, and reads that which was there first.
        let frame = message_frame(1, &List { prefix: String::new(), all_keys: true }).unwrap();
        let (mut owner, _) = agent.log_in_as(&agent.other_key, &frame).await.unwrap();
        let listed = owner.expect::<Listed>().await.unwrap().jobs;
        assert_eq!(listed.iter().map(|job| job.job).collect::<Vec<_>>(), [JOB, JOB]);
        assert_ne!(listed[0].key, listed[1].key);
        assert_eq!(log_of(&mut owner, true).await, "first\n");
        // Nor is an id that another key has given back.
        let followed = Run { streams: Streams::Followed { stdin: false }, ..detached("true") };
        let followed = Run { job: JobId([9; 16]), ..followed };
        for link in &mut links {
            link.ask(&followed).await.unwrap();
            link.expect::<Started>().await.unwrap();
            link.expect::<Exit>().await.unwrap();
            link.send(&Release).await.unwrap();
        }
        for link in &mut links {
            link.ask(&followed).await.unwrap();
            let failure = link.expect::<Failure>().await.unwrap();
            assert!(matches!(failure.cause, Cause::BadRequest(_)), "{failure}");
        }
    });
}

#[test]
fn its_verbs_are_a_permission_of_their_own() {
    let agent = BareAgent::with(Setup { verbs: "\"run\"", ..Setup::default() });
    block_on(async {
        let frame = message_frame(1, &list("")).unwrap();
        let (mut link, _) = agent.log_in_with(&frame).await.unwrap();
        let rule = "verbs: keyring.toml:6 has no jobs".to_owned();
        let refused = Failure::request(Cause::NotPermitted { verb: Verb::Jobs, rule });
        assert_eq!(link.expect::<Failure>().await.unwrap(), refused);
        link.ask(&Kill { job: JOB, signal: Signal { number: 9 }, once: [1; 16], all_keys: false })
            .await
            .unwrap();
        assert_eq!(link.expect::<Failure>().await.unwrap(), refused);
        link.ask(&Logs { job: JOB, from: Start::Beginning, follow: false, all_keys: false })
            .await
            .unwrap();
        assert_eq!(link.expect::<Failure>().await.unwrap(), refused);
    });
}

#[test]
fn offsets_beyond_the_end_are_the_end() {
    let agent = BareAgent::with(Setup { verbs: "\"run\", \"jobs\"", ..Setup::default() });
    block_on(async {
        let frame = message_frame(1, &detached("true")).unwrap();
        let mut link = agent.log_in_with(&frame).await.unwrap().0;
        link.expect::<Started>().await.unwrap();
        let far = Ack { stdout: u64::MAX, stderr: u64::MAX };
        link.ask(&Logs { job: JOB, from: Start::Offsets(far), follow: true, all_keys: false })
            .await
            .unwrap();
        assert_eq!(link.expect::<Reading>().await.unwrap().from, far);
        assert_eq!(link.expect::<LogsEnd>().await.unwrap().upto, far);
    });
}
