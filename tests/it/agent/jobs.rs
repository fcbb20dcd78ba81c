//! Detached jobs on the wire: they belong to their key, and do not exist for any other.

use lariat_base::name::JobId;
use lariat_testing::bare_agent::{BareAgent, Setup};
use lariat_testing::wait::block_on;
use lariat_wire::link::message_frame;
use lariat_wire::protocol::exec::{Ack, Attach, Command, Run, Signal, Started, Streams};
use lariat_wire::protocol::failure::{Cause, Failure};
use lariat_wire::protocol::job::{Kill, Killed, List, Listed, Logs, LogsEnd, Reading, Start};
use lariat_wire::protocol::verb::Verb;

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

#[test]
fn its_verbs_are_a_permission_of_their_own() {
    let agent = BareAgent::with(Setup { verbs: "\"run\"", ..Setup::default() });
    block_on(async {
        let frame = message_frame(1, &list("")).unwrap();
        let (mut link, _) = agent.log_in_with(&frame).await.unwrap();
        let refused = Failure::not_permitted(Verb::Jobs);
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
