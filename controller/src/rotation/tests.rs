use super::*;
use crate::inventory::{Enrolled, Host, Spki};
use crate::key_hosts;

/// A home with a key and these hosts.
struct Fixture {
    _directory: tempfile::TempDir,
    home: Home,
    label: KeyLabel,
    first: KeyId,
}

impl Fixture {
    fn new(hosts: &[&str]) -> Self {
        let (directory, home) = Home::temporary();
        private::create_directory(&home.keys_directory()).unwrap();
        let label: KeyLabel = "bob".parse().unwrap();
        let key = ControllerKey::generate(label.clone()).unwrap();
        private::create(&key::file(&home, &label), key.to_toml().as_bytes()).unwrap();
        let hosts: Vec<_> = hosts.iter().map(|name| (name.parse().unwrap(), entry())).collect();
        let text = crate::inventory::edit::to_toml(hosts.iter().map(|(name, host)| (name, host)));
        private::create(&home.hosts_file(), text.as_bytes()).unwrap();
        Self { _directory: directory, home, label, first: key.id }
    }

    fn takes(&self, name: &str, id: KeyId) {
        key_hosts::add(&self.home, &self.label, &host(name), id).unwrap();
    }

    fn begin(&self, asked: &[&str]) -> KeyId {
        let lock = self.home.lock().unwrap();
        Rotation::begin(&self.home, &lock, &self.label, &hosts(asked)).unwrap().next.id
    }

    /// One rotation in which these hosts answer.
    fn rotate(&self, asked: &[&str], done: &[&str], without: &[&str], revoked: &[&str]) -> Settled {
        let id = self.begin(asked);
        let [done, without, revoked] = [done, without, revoked].map(hosts);
        let answers = Answers { done, without, revoked };
        let lock = self.home.lock().unwrap();
        Rotation::settle(&self.home, &lock, &self.label, id, answers).unwrap()
    }

    fn current(&self) -> KeyId {
        ControllerKey::load_file(&key::file(&self.home, &self.label)).unwrap().id
    }

    fn former(&self) -> Option<KeyId> {
        former(&self.home, &self.label).unwrap().map(|key| key.id)
    }

    fn left_behind(&self) -> Vec<String> {
        let inventory = Inventory::load(&self.home).unwrap();
        let hosts = left_behind(&self.home, &self.label, &inventory).unwrap();
        hosts.iter().map(HostName::to_string).collect()
    }
}

fn entry() -> Host {
    let enrolled = Enrolled { enrolment: EnrolmentId([1; 16]), spki: Spki([2; 32]), next: None };
    let (tags, enrolled) = (Vec::new(), Some(enrolled));
    Host { address: "10.0.0.1".parse().ok(), tags, via: None, proxy: None, enrolled }
}

fn host(name: &str) -> Enrolment {
    (name.parse().unwrap(), EnrolmentId([1; 16]))
}

fn hosts(names: &[&str]) -> Enrolments {
    names.iter().map(|name| host(name)).collect()
}

fn left(names: &[&str]) -> Settled {
    Settled::Left(names.iter().map(|name| name.parse().unwrap()).collect())
}

#[test]
fn it_is_over_once_every_host_has_answered() {
    let fixture = Fixture::new(&["a", "b", "c"]);
    assert_eq!(fixture.rotate(&["a", "b", "c"], &["a"], &["c"], &[]), left(&["b"]));
    assert_eq!((fixture.current(), fixture.former()), (fixture.first, None));
    assert_eq!(fixture.left_behind(), ["b"]);
    // It goes on with the same key, whatever is asked.
    let next = fixture.begin(&["a"]);
    assert_eq!(fixture.rotate(&["b"], &["b"], &[], &[]), Settled::Over { is_sure: true });
    assert_eq!((fixture.current(), fixture.former()), (next, None));
    assert!(fixture.left_behind().is_empty());
    assert!(!file(&fixture.home, &fixture.label).exists());
}

#[test]
fn a_host_that_was_never_seen_to_take_the_key_is_not_waited_for_and_can_still_have_it() {
    let fixture = Fixture::new(&["a", "b", "c"]);
    fixture.takes("a", fixture.first);
    assert_eq!(fixture.rotate(&["a"], &["a"], &[], &[]), Settled::Over { is_sure: false });
    let second = fixture.current();
    assert_eq!(fixture.former(), Some(fixture.first));
    assert!(fixture.left_behind().is_empty());
    // Another rotation leaves the older one there: the second key was never anywhere else.
    assert_eq!(fixture.rotate(&["a"], &["a"], &[], &[]), Settled::Over { is_sure: false });
    assert_ne!(fixture.current(), second);
    assert_eq!(fixture.former(), Some(fixture.first));
    // It turns out that one has it.
    fixture.takes("b", fixture.first);
    assert_eq!(fixture.left_behind(), ["b"]);
    assert_eq!(fixture.rotate(&["a"], &["a"], &[], &[]), left(&["b"]));
    let over = fixture.rotate(&["b", "c"], &["b"], &["c"], &[]);
    assert_eq!(over, Settled::Over { is_sure: true });
    assert_eq!(fixture.former(), None);
}

#[test]
fn a_host_that_denies_what_it_took_may_do_so_only_to_this_place() {
    let fixture = Fixture::new(&["a", "b"]);
    ["a", "b"].iter().for_each(|name| fixture.takes(name, fixture.first));
    let settled = fixture.rotate(&["a", "b"], &["a"], &["b"], &[]);
    assert_eq!(settled, Settled::Over { is_sure: false });
    assert_eq!(fixture.former(), Some(fixture.first), "its key is kept");
    assert!(fixture.left_behind().is_empty(), "and it is not named any more");
}

#[test]
fn where_no_host_has_the_key_nothing_was_begun() {
    let fixture = Fixture::new(&["a", "b"]);
    assert_eq!(fixture.rotate(&["b"], &[], &["b"], &[]), Settled::Nowhere);
    assert_eq!((fixture.current(), fixture.former()), (fixture.first, None));
    assert!(!file(&fixture.home, &fixture.label).exists());
    fixture.takes("a", fixture.first);
    assert_eq!(fixture.rotate(&["b"], &[], &["b"], &[]), Settled::Nowhere, "a was not asked");
    assert!(fixture.left_behind().is_empty());
}

#[test]
fn a_new_key_that_was_revoked_is_given_up_and_kept_where_it_is() {
    let fixture = Fixture::new(&["a", "b"]);
    ["a", "b"].iter().for_each(|name| fixture.takes(name, fixture.first));
    let given_up = fixture.begin(&["b"]);
    assert_eq!(fixture.rotate(&["b"], &[], &[], &["b"]), Settled::GivenUp);
    assert_eq!((fixture.current(), fixture.former()), (fixture.first, Some(given_up)));
    assert_ne!(fixture.begin(&["b"]), given_up);

    // Where a host has it already, it is the one in force, and the old one is the other's.
    let next = fixture.begin(&[]);
    assert_eq!(fixture.rotate(&["a"], &["a"], &[], &[]), left(&["b"]));
    assert_eq!(fixture.rotate(&["b"], &[], &[], &["b"]), Settled::GivenUp);
    assert_eq!((fixture.current(), fixture.former()), (next, Some(fixture.first)));
    assert_eq!(fixture.left_behind(), ["b"]);
    let settled = fixture.rotate(&["a", "b"], &["a", "b"], &[], &[]);
    assert_eq!((settled, fixture.former()), (Settled::Over { is_sure: true }, None));

    // A host that has revoked it does not have it, whatever it said before.
    let old = fixture.current();
    assert_eq!(fixture.rotate(&["a"], &["a"], &[], &[]), left(&["b"]));
    assert_eq!(fixture.rotate(&["a"], &[], &[], &["a"]), Settled::GivenUp);
    assert_eq!(fixture.current(), old);
}

#[test]
fn answers_to_a_key_that_is_not_the_new_one_any_more_count_for_nothing() {
    let fixture = Fixture::new(&["a"]);
    fixture.takes("a", fixture.first);
    fixture.begin(&["a"]);
    let answers = Answers { done: hosts(&["a"]), ..Answers::default() };
    let lock = fixture.home.lock().unwrap();
    let settled =
        Rotation::settle(&fixture.home, &lock, &fixture.label, KeyId([9; 16]), answers).unwrap();
    assert_eq!(settled, left(&["a"]));
}
