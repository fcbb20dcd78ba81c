//! `-L` and `-D`: ports of this machine.

use super::*;

#[test]
fn connections_go_through_the_host_and_each_direction_ends_by_itself() {
    let (fleet, agent) = TestFleet::with_agent();
    let to = server();
    let mut forward = Forward::start(&fleet, &["-L", &format!("0:{to}"), "-L", &format!("0:{to}")]);
    let (one, other) = (forward.listening(), forward.listening());
    assert!(one.ip().is_loopback() && one != other);
    for len in [0, 1, 3_000_000] {
        ask(one, &bytes(len));
        ask(other, &bytes(len));
    }
    // One after the other, they share a session or two; at once, each has one.
    let sessions =
        |agent: &Agent| agent.log().iter().filter(|line| line.contains("logged in")).count();
    let before = sessions(&agent);
    for _ in 0..10 {
        ask(one, b"again");
    }
    assert!(sessions(&agent) <= before + 3, "{:?}", agent.log());
    let many: Vec<_> =
        (0..30).map(|n| thread::spawn(move || ask(one, &bytes(200_000 + n)))).collect();
    many.into_iter().for_each(|asking| asking.join().unwrap());
    // One that stands still holds up no other.
    let still: Vec<_> = (0..10).map(|_| TcpStream::connect(one).unwrap()).collect();
    ask(one, &bytes(1_000_000));
    drop(still);
    forward.signal(Signal::INT);
    assert_eq!(forward.wait().code(), Some(130));
    assert!(is_closed(one));
    let audit = fleet.ok(["audit", "show", "web1", "--json"]);
    assert!(audit.matches(&format!("\"to\":\"{to}\"")).count() >= 40, "{audit}");
}

#[test]
fn nothing_listens_where_one_is_refused() {
    let to = server();
    let (fleet, _agent) =
        TestFleet::with_rules(&format!("verbs = [\"connect\"]\nconnect = [\"{to}\"]\n"));
    let here = free();
    let [good, bad] = [to.port(), to.port() ^ 1].map(|port| format!("{here}:127.0.0.1:{port}"));
    let args = ["forward", "web1", "-L", &good, "-L", &format!("0:127.0.0.1:{}", to.port() ^ 1)];
    let error = fleet.fails(255, args);
    assert!(
        error.contains("not permitted to connect") && error.contains("keyring.toml"),
        "{error}"
    );
    assert!(is_closed(here));
    let error = fleet.fails(255, ["forward", "web1", "-L", &bad, "--json"]);
    assert!(error.contains("not permitted"), "{error}");
    let mut forward = Forward::start(&fleet, &["-L", &good]);
    ask(forward.listening(), b"x");
    // A port that is taken here.
    let error = fleet.fails(255, ["forward", "web1", "-L", &good]);
    assert!(error.contains(&format!("listen on {here}: address already in use")), "{error}");
    let (fleet, _agent) = TestFleet::with_rules("verbs = [\"run\"]\n");
    let error = fleet.fails(255, ["forward", "web1", "-D", "0"]);
    assert!(error.contains("not permitted to connect"), "{error}");
    for (args, part) in [
        (&["web1"][..], "-L"),
        (&["web1", "-L", "80"], "\"80\" is not [BIND:]PORT:ADDR:PORT"),
        (&["web[1-2]", "-D", "1080"], "names several hosts"),
        (&["web9", "-D", "1080"], "no host web9"),
    ] {
        let error = fleet.fails(255, [&["forward"], args].concat());
        assert!(error.contains(part), "{error}");
    }
}

/// What a SOCKS5 proxy answers to this request, and the connection.
fn socks(proxy: SocketAddr, request: &[u8]) -> (u8, TcpStream) {
    let mut client = TcpStream::connect(proxy).unwrap();
    client.write_all(&[&[5, 1, 0][..], request].concat()).unwrap();
    let mut answer = [0; 12];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(answer[..3], [5, 0, 5]);
    (answer[3], client)
}

#[test]
fn a_proxy_goes_where_its_clients_ask_and_the_key_may() {
    let (to, closed) = (server(), free());
    let places = format!("\"localhost:{}\", \"{to}\", \"{closed}\"", to.port());
    let (fleet, _agent) =
        TestFleet::with_rules(&format!("verbs = [\"connect\"]\nconnect = [{places}]\n"));
    let mut forward = Forward::start(&fleet, &["-D", "0"]);
    let proxy = forward.listening();
    let address =
        |at: SocketAddr| [&[5, 1, 0, 1, 127, 0, 0, 1][..], &at.port().to_be_bytes()].concat();
    let name = |name: &[u8], port: u16| {
        let len = u8::try_from(name.len()).unwrap();
        [&[5, 1, 0, 3, len][..], name, &port.to_be_bytes()].concat()
    };
    for request in [address(to), name(b"localhost", to.port())] {
        let (reply, client) = socks(proxy, &request);
        assert_eq!(reply, 0);
        talk(client, &bytes(500_000));
    }
    assert_eq!(socks(proxy, &address(closed)).0, 5, "refused");
    assert_eq!(socks(proxy, &address(proxy)).0, 2, "not permitted");
    assert_eq!(socks(proxy, &name(b"no.such.host.invalid", 80)).0, 2);
    // Whoever speaks something else is cut off, and the others are served.
    let mut wrong = TcpStream::connect(proxy).unwrap();
    wrong.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(wrong.read(&mut [0; 9]).unwrap_or_default(), 0);
    assert_eq!(socks(proxy, &address(to)).0, 0);
}

#[test]
fn the_ports_stay_while_the_host_is_away() {
    let (fleet, mut agent) = TestFleet::with_agent();
    let (to, own) = (server(), TcpListener::bind("127.0.0.1:0").unwrap());
    let other = format!("0:{}", own.local_addr().unwrap());
    let mut forward = Forward::start(&fleet, &["-L", &format!("0:{to}"), "-L", &other]);
    let at = forward.listening();
    let mut open = TcpStream::connect(forward.listening()).unwrap();
    open.write_all(b"some").unwrap();
    let (mut far, _) = own.accept().unwrap();
    far.read_exact(&mut [0; 4]).unwrap();
    ask(at, b"before");
    agent.kill_and_restart();
    // What was open ends.
    assert!(open.read(&mut [0; 9]).unwrap_or_default() == 0);
    ask(at, &bytes(100_000));
    agent.kill_and_restart();
    ask(at, b"again");
}

#[test]
fn a_rule_that_is_narrowed_ends_what_it_permitted() {
    let to = server();
    let rules = |places: &str| format!("verbs = [\"connect\"]\nconnect = [{places}]\n");
    let (fleet, agent) = TestFleet::with_rules(&rules(&format!("\"{to}\"")));
    let mut forward = Forward::start(&fleet, &["-L", &format!("0:{to}")]);
    let at = forward.listening();
    let mut open = TcpStream::connect(at).unwrap();
    open.write_all(b"some").unwrap();
    agent.wait_for(&format!("connect to {to}"));
    fleet.set_rules("web1", &rules(""));
    agent.signal(Signal::HUP);
    assert_eq!(open.read(&mut [0; 9]).unwrap_or_default(), 0);
    let mut denied = TcpStream::connect(at).unwrap();
    assert_eq!(denied.read(&mut [0; 9]).unwrap_or_default(), 0);
    assert!(forward.child.try_wait().unwrap().is_none(), "the ports stay");
}
