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
