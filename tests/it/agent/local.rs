//! Sessions over the agent's own socket: no TLS, no login; the kernel tells who connects.

use lariat_base::name::JobId;
use lariat_testing::bare_agent::{BareAgent, Setup};
use lariat_testing::wait::block_on;
use lariat_wire::link::{Link, message_frame, read_hello};
use lariat_wire::memory::Memory;
use lariat_wire::protocol::Kind;
use lariat_wire::protocol::exec::{Command, End, Exit, Release, Run, Started, Streams};
use lariat_wire::protocol::failure::Failure;
use lariat_wire::protocol::hello::Welcome;
use lariat_wire::protocol::job::{List, Listed};
use lariat_wire::protocol::verb::Verb;
use tokio::net::UnixStream;

fn run(line: &str) -> Run {
    Run {
        job: JobId([1; 16]),
        command: Command::Shell(line.into()),
        user: None,
        cwd: None,
        env: Vec::new(),
        streams: Streams::Followed { stdin: false },
        timeout_ms: None,
        grace_ms: 0,
    }
}

async fn connect(agent: &BareAgent) -> (Link<UnixStream>, Welcome) {
    let path = agent.directory.path().join("state/agent.sock");
    let mut stream = UnixStream::connect(path).await.unwrap();
    let (kind, payload) = read_hello(&mut stream).await.unwrap();
    assert_eq!(kind, Kind::Welcome);
    (Link::with_memory(stream, 0, Memory::default()), Welcome::decode(&payload).unwrap())
}

#[test]
fn a_process_of_the_host_does_what_local_permits_and_nothing_else() {
    let config = "local = [\"run\", \"jobs\"]\n";
    let agent = BareAgent::with(Setup { config, verbs: "\"jobs\"", ..Setup::default() });
    block_on(async {
        let (mut link, welcome) = connect(&agent).await;
        assert!(welcome.verbs.contains(Verb::Run) && !welcome.verbs.contains(Verb::Push));
        link.ask(&run("echo out; exit 3")).await.unwrap();
        link.expect::<Started>().await.unwrap();
        while link.next().await.unwrap().unwrap().kind != Kind::Exit {}
        assert_eq!(link.reader.message::<Exit>().unwrap().end, End::Exited(3));
        link.send(&Release).await.unwrap();
        link.ask(&Run { command: Command::Login, ..run("") }).await.unwrap();
        let refused = link.expect::<Failure>().await.unwrap();
        assert_eq!(
            refused.to_string(),
            "this key is not permitted to open a shell on this host: verbs: agent.toml has no shell"
        );
        let uid = rustix::process::geteuid().as_raw();
        agent.wait_for(&format!("local:{uid}"));
        // A local user's jobs are its own.
        let command = Command::Shell(b"exec sleep 60".to_vec());
        let detached = Run { streams: Streams::Detached, job: JobId([2; 16]), ..run("") };
        link.ask(&Run { command, ..detached }).await.unwrap();
        link.expect::<Started>().await.unwrap();
        let list = List { prefix: String::new(), all_keys: false };
        link.ask(&list).await.unwrap();
        assert_eq!(link.expect::<Listed>().await.unwrap().jobs.len(), 1);
        let request = message_frame(1, &list).unwrap();
        let (mut other, _) = agent.log_in_with(&request).await.unwrap();
        assert!(other.expect::<Listed>().await.unwrap().jobs.is_empty());
    });
}

#[test]
fn there_is_no_socket_unless_it_is_asked_for() {
    let agent = BareAgent::start();
    assert!(!agent.directory.path().join("state/agent.sock").exists());
}
