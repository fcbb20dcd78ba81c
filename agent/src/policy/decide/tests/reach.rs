//! Decisions on connections through the host.

use super::*;

fn listen(at: &str) -> Request {
    hypothetical::listen(at).unwrap()
}

#[test]
fn each_place_permits_what_it_names() {
    for (places, not) in [
        ("", &["connect", "parked", "socket"][..]),
        ("\"10.0.0.0/8:22\"", &["parked", "socket"]),
        ("\"10.0.0.5:23\", \"host:web1\"", &["connect", "parked", "socket"]),
        ("\"/run/db\"", &["connect", "parked"]),
        ("\"/run/db\", \"10.0.0.5:*\"", &["parked"]),
        ("\"10.0.0.5:22\", \"host:web3\"", &["socket"]),
    ] {
        let rules = format!("connect = [{places}]\nlisten = []\n");
        let not = [&["all logs", "can of others", "park", "listen"][..], not].concat();
        assert_eq!(permitted(&rules), all_but(&not), "{places}");
    }
}

#[test]
fn a_connection_goes_to_the_addresses_that_were_decided_on_and_no_others() {
    let key = key("connect = [\n  \"db:5432\",\n  \"10.0.0.0/8:5432\",\n]\n");
    let reached = |texts: &[&str]| -> Vec<Reached> {
        texts.iter().map(|text| Reached::new(text.parse().unwrap(), |_| false)).collect()
    };
    let said = |host: &str, reached: Option<&[Reached]>| {
        let granted = decide(&key, &connect(host), &Facts { reached, ..facts() });
        granted.map(|grant| (grant.line, grant.addresses)).map_err(|denial| denial.to_string())
    };
    let both = reached(&["192.0.2.1:5432", "[::ffff:10.0.0.7]:5432", "127.0.0.1:5432"]);
    let addresses: Vec<SocketAddr> = both.iter().map(|to| to.address).collect();
    assert_eq!(said("db:5432", Some(&both)), Ok((8, addresses[..2].to_vec())));
    assert_eq!(said("other:5432", Some(&both)), Ok((9, addresses[1..2].to_vec())));
    assert_eq!(
        said("other:5432", Some(&both[2..])).unwrap_err(),
        "connect: keyring.toml:7 has no other:5432 (an address of this host's own must be named literally)"
    );
    assert_eq!(
        said("other:22", Some(&reached(&["192.0.2.1:22"]))).unwrap_err(),
        "connect: keyring.toml:7 has no other:22"
    );
    // What could not be looked up has no address, and is told only for what might be permitted.
    assert_eq!(said("db:5432", None), Ok((8, Vec::new())));
    assert!(said("db:22", None).is_err());
}

#[test]
fn a_parked_host_is_permitted_by_its_name_and_goes_with_an_address() {
    let both = |rules: &str| {
        let parked = Some("web3".parse().unwrap());
        let (host, port) = ("10.0.0.5".to_owned(), 22);
        let connect = Connect { parked, host, port, bare: true };
        let request = Request::Connect(ConnectRequest::Connect(connect));
        let granted = decide(&key(rules), &request, &facts());
        let granted = granted.map(|grant| (grant.line, grant.parked, grant.addresses.len()));
        granted.map_err(|denial| denial.to_string())
    };
    assert_eq!(both(""), Ok((6, true, 1)));
    assert_eq!(both("connect = [\"host:web3\"]\n"), Ok((7, true, 0)));
    assert_eq!(both("connect = [\"*:22\",\n\"host:web3\"]\n"), Ok((8, true, 1)));
    assert_eq!(both("connect = [\"*:22\", \"host:web4\"]\n"), Ok((7, false, 1)));
    assert_eq!(
        both("connect = [\"*:23\"]\n").unwrap_err(),
        "connect: keyring.toml:7 has no host:web3, nor 10.0.0.5:22"
    );
    let none = decide(
        &key("connect = [\"*:*\"]\n"),
        &connect("host:web3"),
        &Facts { reached: Some(&[]), ..facts() },
    );
    assert_eq!(none.unwrap_err().to_string(), "connect: keyring.toml:7 has no host:web3");
}

#[test]
fn a_key_that_parks_does_nothing_else() {
    let own = key("park = \"web3\"\n");
    for (name, request) in requests() {
        let said = said(&own, &request, &facts());
        let expected = if name == "park" {
            "6"
        } else {
            "park: keyring.toml:6 only parks connections of web3"
        };
        assert_eq!(said, expected, "{name}");
    }
    let other = said(&own, &park("web4"), &facts());
    assert_eq!(other, "park: keyring.toml:6 is for web3, not for web4");
    let all =
        format!("verbs = [{:?}]\n", Verb::ALL.iter().map(|verb| verb.as_str()).collect::<Vec<_>>())
            .replace("[[", "[")
            .replace("]]", "]");
    let none = said(&key(&all), &park("web3"), &facts());
    assert_eq!(none, "park: no connections can be parked with this key");
}

#[test]
fn a_key_listens_on_loopback_or_where_an_entry_says() {
    let said = |rules: &str, at: &str| said(&key(rules), &listen(at), &facts());
    let line = "6";
    for at in ["8080", "127.0.0.1:80", "[::1]:80", "127.1.2.3:1", "0", "[::ffff:127.0.0.1]:80"] {
        assert_eq!(said("", at), line, "{at}");
    }
    for at in ["0.0.0.0:8080", "[::]:8080", "10.0.0.9:0", "169.254.1.1:80"] {
        assert!(said("", at).ends_with("is not loopback, and no list `listen` has it"), "{at}");
    }
    for at in ["7433", "0.0.0.0:7433", "[::1]:7433"] {
        for rules in ["", "listen = [\"*:*\"]\n"] {
            assert_eq!(said(rules, at), "listen: port 7433 is the agent's own");
        }
    }
    let rules = "listen = [\n  \"0.0.0.0:8080\",\n  \"127.0.0.1:*\",\n]\n";
    assert_eq!(said(rules, "0.0.0.0:8080"), "8");
    assert_eq!(said(rules, "8081"), "9");
    assert_eq!(said(rules, "10.0.0.9:8080"), "listen: keyring.toml:7 has no 10.0.0.9:8080");
    assert_eq!(said(rules, "[::1]:8080"), "listen: keyring.toml:7 has no [::1]:8080");
    let users = "users = [\"www\"]\n";
    assert_eq!(said(users, "1024"), line);
    assert_eq!(said(users, "0"), line);
    for at in ["1", "80", "1023"] {
        let why = "listen: a key with users (keyring.toml:7) has no port below 1024";
        assert_eq!(said(users, at), why);
        assert_eq!(said(&format!("{users}listen = [\"*:*\"]\n"), at), why);
    }
}
