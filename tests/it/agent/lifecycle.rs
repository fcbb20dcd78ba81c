//! The agent as a service: readiness, the watchdog, and reasons not to start.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc::channel;

use lariat_testing::agent::lariatd;
use lariat_testing::bare_agent::{BareAgent, Setup};
use lariat_testing::wait::PATIENCE;
use rustix::process::Signal;

fn receive(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 1024];
    let len = socket.recv(&mut buffer).unwrap();
    String::from_utf8_lossy(&buffer[..len]).trim_end().to_owned()
}

#[test]
fn systemd_is_told_and_the_watchdog_is_fed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let environment = vec![
        ("NOTIFY_SOCKET", path.to_str().unwrap().to_owned()),
        ("WATCHDOG_USEC", "200000".to_owned()),
    ];
    let mut agent = BareAgent::with(Setup { environment, ..Setup::default() });
    let ready = format!("READY=1\nSTATUS=listening on {}", agent.address);
    assert_eq!(receive(&socket), "FDSTORE=1\nFDNAME=lariat-listener");
    assert_eq!(receive(&socket), ready);
    for _ in 0..3 {
        assert_eq!(receive(&socket), "WATCHDOG=1");
    }
    let config = agent.directory.path().join("agent.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    for (more, told) in [("", ""), ("colour = 1\n", "agent.toml:8: unknown key colour")] {
        std::fs::write(&config, format!("{text}{more}")).unwrap();
        agent.signal(Signal::HUP);
        let next = || loop {
            let text = receive(&socket);
            if text != "WATCHDOG=1" {
                break text;
            }
        };
        let began = next();
        let at = began.strip_prefix("RELOADING=1\nMONOTONIC_USEC=");
        assert!(at.is_some_and(|at| at.parse::<u64>().is_ok()), "{began}");
        let ended = next();
        let rest = ended.strip_prefix(&ready).unwrap();
        assert!(rest.is_empty() == told.is_empty() && rest.contains(told), "{ended}");
    }
    agent.signal(Signal::INT);
    while !receive(&socket).starts_with("STOPPING=1\nSTATUS=stopping, 0 sessions") {}
    assert_eq!(agent.wait().code(), Some(0));
}

/// The exit code and the one line of an agent that does not start.
fn refusal(directory: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = lariatd(&directory.join("agent.toml"));
    let child = command.args(arguments).stderr(Stdio::piped()).spawn().unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    let (sender, receiver) = channel();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    let Ok(output) = receiver.recv_timeout(PATIENCE) else {
        rustix::process::kill_process(pid, Signal::KILL).unwrap();
        panic!("it started");
    };
    let output = output.unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    (output.status.code(), text)
}

#[test]
fn what_a_person_must_put_right_exits_78_and_the_rest_1() {
    let agent = BareAgent::start();
    let directory = agent.directory.path();
    let taken = agent.address.to_string();
    let (code, line) = refusal(directory, &["--listen", &taken]);
    assert_eq!(code, Some(1));
    let said = format!("lariatd: listen on {taken}: address already in use; ");
    assert!(line.starts_with(&said), "{line}");

    let config = directory.join("agent.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let misconfigured = |part: &str| {
        let (code, line) = refusal(directory, &[]);
        assert!(code == Some(78) && line.contains(part), "{code:?}: {line}");
    };
    std::fs::write(&config, format!("{text}colour = 1\n")).unwrap();
    misconfigured("agent.toml:8: unknown key colour");

    std::fs::write(&config, text).unwrap();
    std::fs::write(directory.join("state/job"), "").unwrap();
    std::fs::set_permissions(directory.join("state"), PermissionsExt::from_mode(0o755)).unwrap();
    misconfigured("state is open to others (mode 0755)");

    std::fs::remove_file(&config).unwrap();
    misconfigured("no such file or directory");
}
