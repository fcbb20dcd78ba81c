//! `-R`: ports of the host.

use super::*;

#[test]
fn connections_of_the_host_come_here() {
    let (fleet, agent) = TestFleet::with_agent();
    let to = server();
    let mut forward = Forward::start(&fleet, &["-R", &format!("0:{to}")]);
    let at = forward.listening();
    assert!(at.ip().is_loopback());
    for len in [0, 1, 2_000_000] {
        ask(at, &bytes(len));
    }
    let many: Vec<_> =
        (0..50).map(|n| thread::spawn(move || ask(at, &bytes(50_000 + n)))).collect();
    many.into_iter().for_each(|asking| asking.join().unwrap());
    forward.signal(Signal::TERM);
    assert_eq!(forward.wait().code(), Some(143));
    agent.wait_for("53 connections");
    assert!(is_closed(at));
    let audit = fleet.ok(["audit", "show", "web1", "--json"]);
    assert!(
        audit.contains("\"request\":\"listen\"") && audit.contains("\"at\":\"127.0.0.1:0\""),
        "{audit}"
    );
    assert!(!audit.contains("\"request\":\"take\""), "{audit}");
}

#[test]
fn a_place_that_is_not_there_closes_the_connection_and_no_other() {
    let (fleet, _agent) = TestFleet::with_agent();
    let (closed, to) = (free(), server());
    let args = ["-R", &format!("0:{closed}"), "-R", &format!("0:{to}")];
    let mut forward = Forward::start(&fleet, &args);
    let objects = [forward.object(), forward.object()];
    let at = |to: SocketAddr| -> SocketAddr {
        let object = objects.iter().find(|object| object["to"] == to.to_string()).unwrap();
        object["listen"].as_str().unwrap().parse().unwrap()
    };
    let mut nobody = TcpStream::connect(at(closed)).unwrap();
    assert_eq!(nobody.read(&mut [0; 9]).unwrap_or_default(), 0);
    ask(at(to), b"x");
}

#[test]
fn it_listens_only_where_the_key_may() {
    let at = free();
    let rules = format!("verbs = [\"run\", \"listen\"]\nlisten = [\"{at}\", \"0.0.0.0:*\"]\n");
    let (fleet, agent) = TestFleet::with_rules(&rules);
    let refused = |spec: &str| {
        let error = fleet.fails(255, ["forward", "web1", "-R", spec]);
        assert!(error.contains("not permitted to listen"), "{error}");
        error
    };
    refused(&format!("127.0.0.1:{}:localhost:80", at.port() ^ 1));
    refused("0:localhost:80");
    refused("[::1]:8080:localhost:80");
    let own = agent.address.port();
    let error = refused(&format!("0.0.0.0:{own}:localhost:80"));
    assert!(error.contains("the agent's own"), "{error}");
    let label = fleet.ok(["key", "list", "--json"]);
    let label = label.split("\"label\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let can = |at: &str| fleet.run(["can", &label, "web1", "--listen", at]).status.code();
    assert_eq!((can(&at.to_string()), can("0"), can("10.0.0.1:80")), (Some(0), Some(1), Some(1)));
    let to = server();
    let mut forward = Forward::start(&fleet, &["-R", &format!("{at}:{to}")]);
    assert_eq!(forward.listening(), at);
    ask(at, b"x");
    // What is no longer permitted ends, with what came by it.
    let mut open = TcpStream::connect(at).unwrap();
    open.write_all(b"some").unwrap();
    agent.wait_for("listen connection 2 of");
    fleet.set_rules("web1", "verbs = [\"run\", \"listen\"]\nlisten = []\n");
    agent.signal(Signal::HUP);
    assert_eq!(open.read(&mut [0; 9]).unwrap_or_default(), 0);
    assert_eq!(forward.wait().code(), Some(255));
    assert!(is_closed(at));
    let (fleet, _agent) =
        TestFleet::with_rules("verbs = [\"run\", \"listen\"]\nusers = [\"root\"]\n");
    let error = fleet.fails(255, ["forward", "web1", "-R", "80:localhost:80"]);
    assert!(error.contains("has no port below 1024"), "{error}");
    let error = fleet.fails(255, ["forward", "web1", "-R", "0.0.0.0:8080:localhost:80"]);
    assert!(error.contains("is not loopback"), "{error}");
}

#[test]
fn it_comes_back_where_it_was_and_the_newest_one_has_the_port() {
    let (fleet, mut agent) = TestFleet::with_agent();
    let (at, to) = (free(), server());
    let spec = format!("{at}:{to}");
    let mut forward = Forward::start(&fleet, &["-R", &spec]);
    assert_eq!(forward.listening(), at);
    ask(at, b"before");
    agent.kill_and_restart();
    lariat_testing::wait::until("the port", || (!is_closed(at)).then_some(()));
    ask(at, b"after");
    // An agent that is stopped in order says goodbye.
    agent.signal(Signal::TERM);
    agent.restart();
    lariat_testing::wait::until("the port", || (!is_closed(at)).then_some(()));
    ask(at, b"again");
    // Another program of the host has a port.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();
    let held = TcpListener::bind(taken);
    if held.is_ok() {
        let error = fleet.fails(255, ["forward", "web1", "-R", &format!("{taken}:{to}")]);
        assert!(error.contains(&format!("listen on {taken}: address already in use")), "{error}");
    }
    let mut newer = Forward::start(&fleet, &["-R", &spec]);
    assert_eq!(newer.listening(), at);
    assert_eq!(forward.wait().code(), Some(255));
    ask(at, b"newer");
}
