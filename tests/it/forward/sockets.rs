//! Unix sockets at either end, and whose rights they are connected to with.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc;

use rustix::net::sockopt::socket_peercred;

use super::*;

/// A server at a socket, which reports who connects.
fn socket_server(path: &Path) -> mpsc::Receiver<u32> {
    let listener = UnixListener::bind(path).unwrap();
    let (report, reported) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            if report.send(socket_peercred(&stream).unwrap().uid.as_raw()).is_err() {
                return;
            }
            thread::spawn(move || answer(stream));
        }
    });
    reported
}

fn ask_socket(path: &Path, bytes: &[u8]) {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.write_all(bytes).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut came = Vec::new();
    stream.read_to_end(&mut came).unwrap();
    assert!(came[8..] == *bytes, "{}", came.len());
}

#[test]
fn a_socket_may_be_at_either_end() {
    let (fleet, _agent) = TestFleet::with_agent();
    let [here, there] = ["here.sock", "there.sock"].map(|name| fleet.path(name));
    let reported = socket_server(&there);
    let spec = format!("{}:{}", here.display(), there.display());
    let by_port = format!("0:{}", there.display());
    let mut forward = Forward::start(&fleet, &["-L", &spec, "-L", &by_port]);
    assert_eq!(forward.object()["listen"], here.to_str().unwrap());
    let at = forward.listening();
    ask_socket(&here, &bytes(300_000));
    ask(at, &bytes(300_000));
    let own = rustix::process::geteuid().as_raw();
    assert_eq!([reported.recv().unwrap(), reported.recv().unwrap()], [own; 2]);
    assert_eq!(fs::metadata(&here).unwrap().mode() & 0o777, 0o600);
    let error = fleet.fails(255, ["forward", "web1", "-L", &spec]);
    assert!(error.contains("address already in use"), "{error}");
    forward.signal(Signal::INT);
    assert_eq!(forward.wait().code(), Some(130));
    assert!(!here.exists());
    // From the host to a socket here.
    let mut forward = Forward::start(&fleet, &["-R", &by_port]);
    ask(forward.listening(), b"x");
}

#[test]
fn the_agents_own_sockets_lead_nowhere() {
    let fleet = TestFleet::new();
    fleet.enroll("web1", "127.0.0.1:1");
    let config = fleet.bundle("web1").join("agent.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("local = [\"run\"]\n{text}")).unwrap();
    let agent = fleet.start("web1");
    fleet.set_address("web1", agent.address);
    let own = agent.state().join("agent.sock");
    let link = fleet.path("link.sock");
    std::os::unix::fs::symlink(&own, &link).unwrap();
    for path in [&own, &link] {
        let mut forward = Forward::start(&fleet, &["-L", &format!("0:{}", path.display())]);
        let mut stream = TcpStream::connect(forward.listening()).unwrap();
        assert_eq!(stream.read(&mut [0; 9]).unwrap_or_default(), 0);
        agent.wait_for("is the agent's own socket");
    }
}

/// A user that every Linux has.
const OTHER: u32 = 65_534;

#[test]
fn a_socket_is_connected_to_with_the_rights_of_the_user() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not tested: only an agent of root acts as another user");
        return;
    }
    let fleet = TestFleet::new();
    fleet.enroll("web1", "127.0.0.1:1");
    let [theirs, ours] = ["theirs", "ours"].map(|name| fleet.path(name));
    for directory in [&theirs, &ours] {
        fs::create_dir(directory).unwrap();
        fs::set_permissions(directory, PermissionsExt::from_mode(0o700)).unwrap();
    }
    chown(&theirs, Some(OTHER), Some(OTHER)).unwrap();
    fs::set_permissions(fleet.path("").parent().unwrap(), PermissionsExt::from_mode(0o711))
        .unwrap();
    let [their, our] = [theirs.join("s"), ours.join("s")];
    let (of_theirs, _of_ours) = (socket_server(&their), socket_server(&our));
    fs::set_permissions(&their, PermissionsExt::from_mode(0o666)).unwrap();
    let places = format!("\"{}\", \"{}\"", their.display(), our.display());
    fleet.set_rules(
        "web1",
        &format!("verbs = [\"connect\"]\nusers = [\"nobody\"]\nconnect = [{places}]\n"),
    );
    let agent = fleet.start("web1");
    fleet.set_address("web1", agent.address);
    let mut forward = Forward::start(&fleet, &["-L", &format!("0:{}", their.display())]);
    let at = forward.listening();
    for len in [0, 10, 2_000_000] {
        ask(at, &bytes(len));
        assert_eq!(of_theirs.recv().unwrap(), OTHER);
    }
    let many: Vec<_> = (0..8).map(|n| thread::spawn(move || ask(at, &bytes(90_000 + n)))).collect();
    many.into_iter().for_each(|asking| asking.join().unwrap());
    // Root's socket is not theirs to reach.
    let mut forward = Forward::start(&fleet, &["-L", &format!("0:{}", our.display())]);
    let mut stream = TcpStream::connect(forward.listening()).unwrap();
    assert_eq!(stream.read(&mut [0; 9]).unwrap_or_default(), 0);
    agent.wait_for("permission denied");
    let error = fleet
        .fails(255, ["forward", "web1", "-u", "root", "-L", &format!("0:{}", their.display())]);
    assert!(error.contains("not permitted"), "{error}");
    let audit = agent.log();
    assert!(audit.iter().any(|line| line.contains("as nobody")), "{audit:?}");
}
