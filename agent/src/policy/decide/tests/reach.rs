//! Decisions on connections through the host.

use super::*;

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
