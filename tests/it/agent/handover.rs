//! The listening socket, kept by systemd over restarts or passed by a socket unit. The test plays systemd.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};

use lariat_testing::agent::Agent;
use lariat_testing::bare_agent::{BareAgent, Setup};
use lariat_testing::binaries::binaries;
use lariat_testing::wait::{PATIENCE, block_on};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::Signal;

/// The service manager's end of the notifications.
struct Manager {
    directory: tempfile::TempDir,
    socket: UnixDatagram,
}

impl Manager {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { directory, socket }
    }

    fn address(&self) -> String {
        self.directory.path().join("notify").to_str().unwrap().to_owned()
    }

    /// The next message, with the descriptor that came along.
    fn receive(&self) -> (String, Option<OwnedFd>) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut buffer = [0; 1024];
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let len = recvmsg(&self.socket, &mut parts, &mut control, flags).unwrap().bytes;
        let descriptor = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        (String::from_utf8_lossy(&buffer[..len]).trim_end().to_owned(), descriptor)
    }

    /// The socket that the agent wants to have kept.
    fn stored(&self) -> OwnedFd {
        let (message, descriptor) = self.receive();
        assert_eq!(message, "FDSTORE=1\nFDNAME=lariat-listener");
        descriptor.unwrap()
    }

    fn hears(&self, start: &str) {
        let (message, descriptor) = self.receive();
        assert!(message.starts_with(start) && descriptor.is_none(), "{message}");
    }

    /// `lariatd` with its stdin passed as systemd passes sockets, `names` to it.
    fn command(&self, config: &Path, names: &str) -> Command {
        let line = "export LISTEN_PID=$$ LISTEN_FDS=$(echo $LISTEN_FDNAMES | tr : '\n' | wc -l)
            exec \"$0\" --config \"$1\" 3<&0 4<&0 </dev/null";
        let mut command = Command::new("sh");
        command.args(["-c", line]).arg(&binaries().lariatd).arg(config);
        command.env("LISTEN_FDNAMES", names).env("NOTIFY_SOCKET", self.address());
        command
    }

    fn start(&self, config: &Path, socket: OwnedFd, name: &str) -> Agent {
        Agent::spawn_with(self.command(config, name), config.to_owned(), Stdio::from(socket))
    }
}

#[test]
fn the_port_stays_open_over_a_restart() {
    let manager = Manager::new();
    let environment = vec![("NOTIFY_SOCKET", manager.address())];
    let mut agent = BareAgent::with(Setup { environment, ..Setup::default() });
    let socket = manager.stored();
    manager.hears("READY=1");
    let (config, address) = (agent.directory.path().join("agent.toml"), agent.address);
    agent.signal(Signal::KILL);
    agent.wait();
    // The connection waits for the agent's next run.
    let start = || manager.start(&config, socket.try_clone().unwrap(), "lariat-listener");
    let new = std::thread::scope(|scope| {
        let login = scope.spawn(|| block_on(agent.connect()).map(drop));
        let new = start();
        login.join().unwrap().unwrap();
        new
    });
    assert!(new.address == address && new.log()[0].ends_with("(kept over the restart)"));
    manager.hears("READY=1");
    drop(new);
    // Somewhere else it is of no use.
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("127.0.0.1:0", "127.0.0.2:0")).unwrap();
    let moved = std::thread::scope(|scope| {
        let moved = scope.spawn(start);
        manager.hears("FDSTOREREMOVE=1\nFDNAME=lariat-listener");
        // The agent goes on once this descriptor is closed.
        assert_eq!(manager.receive().0, "BARRIER=1");
        moved.join().unwrap()
    });
    assert_eq!(moved.address.ip().to_string(), "127.0.0.2");
    manager.stored();
    manager.hears("READY=1");
}

#[test]
fn the_socket_of_a_socket_unit_is_listened_on() {
    let (mut bare, manager) = (BareAgent::start(), Manager::new());
    bare.signal(Signal::KILL);
    bare.wait();
    let config = bare.directory.path().join("agent.toml");
    let socket = TcpListener::bind("127.0.0.3:0").unwrap();
    let address = socket.local_addr().unwrap();
    let mut agent = manager.start(&config, socket.try_clone().unwrap().into(), "lariatd.socket");
    assert!(agent.address == address && agent.log()[0].ends_with("(of a socket unit)"));
    manager.hears("READY=1");
    agent.signal(Signal::TERM);
    assert_eq!(agent.wait().code(), Some(0));

    let refused = |socket: OwnedFd, names, told: &str| {
        let output = manager.command(&config, names).stdin(Stdio::from(socket)).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(78) && error.contains(told), "{error}");
    };
    refused(socket.into(), "one:two", "systemd passed 2 sockets of socket units");
    let other = UdpSocket::bind("127.0.0.1:0").unwrap();
    refused(other.into(), "x", "systemd passed the socket \"x\", which is not a listening TCP");
}
