//! `lariat forward`: ports that lead through a host.

mod local;
mod remote;
mod sockets;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ExitStatus, Stdio};
use std::thread;

use lariat_testing::agent::Agent;
use lariat_testing::fleet::TestFleet;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A running `lariat forward`. Dropping it ends it.
struct Forward {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Forward {
    fn start(fleet: &TestFleet, args: &[&str]) -> Self {
        let mut lariat = fleet.lariat();
        lariat.args(["forward", "web1", "--json"]).args(args);
        let mut child = lariat.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, output }
    }

    /// The next object that it prints.
    fn object(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line:?}"))
    }

    /// The next address that it listens at.
    fn listening(&mut self) -> SocketAddr {
        let object = self.object();
        assert_eq!(object["ok"], true, "{object}");
        object["listen"].as_str().unwrap().parse().unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server that sends back what it is sent, once that has ended, with its length before it.
pub(crate) fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || answer(stream.unwrap()));
        }
    });
    address
}

fn answer(mut stream: impl Read + Write) {
    let mut came = Vec::new();
    if stream.read_to_end(&mut came).is_ok() {
        let _ = stream.write_all(&(came.len() as u64).to_le_bytes());
        let _ = stream.write_all(&came);
    }
}

/// Sends bytes to a [`server`], and checks what comes back.
pub(crate) fn ask(at: SocketAddr, bytes: &[u8]) {
    talk(TcpStream::connect(at).unwrap(), bytes);
}

fn talk(mut stream: TcpStream, bytes: &[u8]) {
    let mut sender = stream.try_clone().unwrap();
    let sent = bytes.to_vec();
    let sending = thread::spawn(move || {
        sender.write_all(&sent).unwrap();
        sender.shutdown(Shutdown::Write).unwrap();
    });
    let mut came = Vec::new();
    stream.read_to_end(&mut came).unwrap();
    sending.join().unwrap();
    let expected = [&(bytes.len() as u64).to_le_bytes()[..], bytes].concat();
    assert!(came == expected, "{} bytes of {}", came.len(), expected.len());
}

pub(crate) fn bytes(len: usize) -> Vec<u8> {
    (0..=255).cycle().take(len).collect()
}

/// Whether nobody listens there.
fn is_closed(at: SocketAddr) -> bool {
    TcpStream::connect(at).is_err()
}

/// An address where nobody listens.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
