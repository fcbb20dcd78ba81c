use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

use lariat_base::secret::Secret;
use lariat_wire::auth::proof::key_id;
use lariat_wire::protocol::key::{KeyAdd, KeyAllow, KeyRevoke, KeyRotate, KeyVerifier, Rules};
use lariat_wire::protocol::verb::{Verb, Verbs};

use super::*;
use crate::policy::networks::Peer;

const ENROLMENT: EnrolmentId = EnrolmentId([7; 16]);

/// A host with the keyring of one owner, who has logged in.
struct Host {
    directory: tempfile::TempDir,
    logged_in: RefCell<Vec<KeyId>>,
}

fn id(byte: u8) -> KeyId {
    key_id(&Secret::new([byte; 32]))
}

fn owner() -> KeyId {
    id(1)
}

fn verifier(byte: u8) -> KeyVerifier {
    KeyVerifier { stored: Secret::new([byte; 32]), agent: Secret::new([byte; 32]) }
}

fn all() -> Rules {
    Rules { verbs: Verbs::all(), ..Rules::default() }
}

fn only(verbs: &[Verb]) -> Rules {
    Rules { verbs: verbs.iter().copied().collect(), ..Rules::default() }
}

impl Host {
    fn new() -> Self {
        let host =
            Self { directory: crate::private_directory(), logged_in: RefCell::new(vec![owner()]) };
        private::create(&host.path(), b"# of web1\n").unwrap();
        host.by(Asker::Host, &host.adding(1, all())).unwrap();
        host
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("keyring.toml")
    }

    fn store<'a>(&'a self, path: &'a Path) -> Store<'a> {
        let (state, own) = (self.directory.path(), vec![self.path()]);
        Store { path, state, enrolment: ENROLMENT, own }
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.path()).unwrap()
    }

    fn adding(&self, key: u8, rules: Rules) -> KeyRequest {
        let revision = change::revision(&self.text());
        KeyRequest::KeyAdd(KeyAdd {
            revision,
            enrolment: ENROLMENT,
            id: id(key),
            label: format!("key{key}").parse().unwrap(),
            verifier: verifier(key),
            rules,
            again: false,
            dry_run: false,
        })
    }

    fn allowing(&self, key: &str, rules: Rules) -> KeyRequest {
        let revision = change::revision(&self.text());
        KeyRequest::KeyAllow(KeyAllow { revision, key: key.to_owned(), rules, dry_run: false })
    }

    fn by(&self, asker: Asker, request: &KeyRequest) -> Result<KeyChanged, KeyProblem> {
        let path = self.path();
        let store = self.store(&path);
        let has_logged_in = |id| self.logged_in.borrow().contains(&id);
        let before = self.text();
        let swapped = RefCell::new(None);
        let done = store.change(
            request,
            asker,
            Clock::new(SystemTime::now(), UNIX_EPOCH),
            &has_logged_in,
            |counts| {
                if let Counts::Changed(keyring) = counts {
                    *swapped.borrow_mut() = Some(keyring);
                }
                Ok(())
            },
        );
        match done {
            Ok(changed) => {
                // What counts at once is what the next start reads.
                if let Some(keyring) = swapped.take() {
                    let loaded = store.load().unwrap().keyring;
                    let ids = |keyring: &Keyring| {
                        keyring.entries().map(|entry| entry.id).collect::<Vec<_>>()
                    };
                    assert_eq!(ids(&keyring), ids(&loaded));
                }
                assert_eq!(changed.revision, change::revision(&self.text()));
                Ok(changed)
            }
            Err(Failure { cause: Cause::Key(problem), .. }) => {
                assert_eq!(self.text(), before);
                Err(problem)
            }
            Err(other) => panic!("{other}"),
        }
    }

    fn owner(&self, request: &KeyRequest) -> Result<KeyChanged, KeyProblem> {
        self.by(Asker::Key(owner(), None), request)
    }

    fn revoke(&self, key: &str, force: bool) -> Result<KeyChanged, KeyProblem> {
        let key = key.to_owned();
        self.owner(&KeyRequest::KeyRevoke(KeyRevoke { key, keep_jobs: false, force }))
    }

    fn has(&self, id: KeyId) -> bool {
        let path = self.path();
        let store = self.store(&path);
        store.load().unwrap().keyring.entry(id).is_some()
    }
}

#[test]
fn no_root_reaches_what_is_the_agents_own() {
    let host = Host::new();
    let own = host.path();
    let above = own.parent().unwrap();
    for root in [own.as_path(), above, Path::new("/")] {
        let root = Some(vec![root.to_str().unwrap().to_owned()]);
        for rules in [
            Rules { push: root.clone(), ..only(&[Verb::Push]) },
            Rules { pull: root.clone(), ..only(&[Verb::Pull]) },
        ] {
            let refused = host.owner(&host.adding(2, rules)).unwrap_err();
            assert!(
                matches!(&refused, KeyProblem::Mistake(why) if why.contains("own")),
                "{refused:?}"
            );
        }
    }
    let elsewhere = Rules { push: Some(vec!["/nowhere".to_owned()]), ..only(&[Verb::Push]) };
    assert!(host.owner(&host.adding(2, elsewhere)).unwrap().changed);
    assert!(host.owner(&host.adding(3, only(&[Verb::Run]))).unwrap().changed);
    // One that a person has written counts no more than another mistake.
    std::fs::write(&own, host.text().replace("/nowhere", above.to_str().unwrap())).unwrap();
    let why = host.store(&own).load().err().unwrap().to_string();
    assert!(why.contains("keyring.toml:16: ") && why.contains(" can't be a root: "), "{why}");
    // It keeps nobody from revoking another key, and its key does not count then.
    let (key, clock) = ("key3".to_owned(), Clock::new(SystemTime::now(), UNIX_EPOCH));
    let revoke = KeyRequest::KeyRevoke(KeyRevoke { key, keep_jobs: false, force: false });
    let (by, mut all) = (Asker::Key(owner(), None), Vec::new());
    let counts = |counts| {
        let (Counts::Found(keyring) | Counts::Changed(keyring)) = counts;
        all.push(keyring.entries().map(|key| key.id).collect::<Vec<_>>());
        Ok(())
    };
    assert!(host.store(&own).change(&revoke, by, clock, &|_| true, counts).unwrap().changed);
    assert_eq!(all, [vec![owner(), id(3)], vec![owner()]]);
}

#[test]
fn what_a_person_has_written_counts_before_the_change_and_may_prevent_it() {
    let host = Host::new();
    host.owner(&host.adding(2, only(&[Verb::Run]))).unwrap();
    std::fs::write(host.path(), host.text().replace("\"run\"", "\"push\"")).unwrap();
    let edited = host.text();
    let KeyRequest::KeyAdd(add) = host.adding(3, only(&[Verb::Pull])) else { panic!() };
    let (path, clock) = (host.path(), Clock::new(SystemTime::now(), UNIX_EPOCH));
    let change = |request: &KeyAdd, is_right: bool| {
        let mut seen = Vec::new();
        let verbs = |keyring: &Keyring| keyring.entry(id(2)).map(|key| *key.verbs);
        let counts = |counts| {
            seen.push(match counts {
                Counts::Found(keyring) => ("found", verbs(&keyring), host.text()),
                Counts::Changed(keyring) => ("changed", verbs(&keyring), host.text()),
            });
            if is_right { Ok(()) } else { Err(form(&"no")) }
        };
        let (request, by) = (KeyRequest::KeyAdd(request.clone()), Asker::Key(owner(), None));
        let done = host.store(&path).change(&request, by, clock, &|_| true, counts);
        (done.is_ok(), seen)
    };
    let push: Option<Verbs> = Some([Verb::Push].into_iter().collect());
    assert_eq!(change(&KeyAdd { dry_run: true, ..add.clone() }, true), (true, Vec::new()));
    assert_eq!(change(&KeyAdd { revision: [0; 16], ..add.clone() }, true), (false, Vec::new()));
    let found = ("found", push, edited.clone());
    assert_eq!(change(&add, false), (false, vec![found.clone()]));
    assert_eq!(host.text(), edited, "nothing is written");
    let (is_done, seen) = change(&add, true);
    assert_eq!((is_done, seen.len(), &seen[0], &seen[1].1), (true, 2, &found, &push));

    let keyring = Keyring::parse(&path, &host.text()).unwrap();
    let (add, finish) = (KeyRequest::KeyAdd(add), KeyRequest::KeyRotate(KeyRotate::Finish));
    let may = |by, request| Asker::Key(by, None).may(request, &keyring, clock);
    assert!(may(owner(), &add) && Asker::Host.may(&add, &keyring, clock));
    assert!(!may(id(2), &add) && may(id(2), &finish));
    assert!(!may(id(9), &add) && !may(id(9), &finish));
}

#[test]
fn a_key_is_added_once_and_never_in_place_of_another() {
    let host = Host::new();
    let add = host.adding(2, only(&[Verb::Run]));
    assert!(host.owner(&add).unwrap().changed);
    assert!(!host.owner(&add).unwrap().changed, "the same again is no change");
    assert!(host.text().starts_with("# of web1\n"));
    let other = host.adding(2, only(&[Verb::Push]));
    assert_eq!(host.owner(&other), Err(KeyProblem::IdTaken("key2".to_owned())));
    let KeyRequest::KeyAdd(add) = host.adding(3, all()) else { panic!() };
    let same_label = KeyAdd { label: "key2".parse().unwrap(), ..add.clone() };
    assert_eq!(host.owner(&KeyRequest::KeyAdd(same_label)), Err(KeyProblem::LabelTaken));
    let elsewhere = KeyAdd { enrolment: EnrolmentId([8; 16]), ..add.clone() };
    assert_eq!(host.owner(&KeyRequest::KeyAdd(elsewhere)), Err(KeyProblem::OtherEnrolment));
    let stale = KeyAdd { revision: [0; 16], ..add.clone() };
    assert_eq!(host.owner(&KeyRequest::KeyAdd(stale)), Err(KeyProblem::Stale));
    let dry = KeyRequest::KeyAdd(KeyAdd { dry_run: true, ..add.clone() });
    assert!(host.owner(&dry).unwrap().changed && !host.has(id(3)));
    let bad = Rules { not_after: Some(u64::MAX), ..all() };
    let bad = KeyRequest::KeyAdd(KeyAdd { rules: bad, ..add });
    assert!(matches!(host.owner(&bad), Err(KeyProblem::Mistake(_))));
}

#[test]
fn a_revoked_key_stays_revoked_whatever_the_file_says() {
    let host = Host::new();
    host.owner(&host.adding(2, only(&[Verb::Run]))).unwrap();
    let old = host.text();
    let revoked = host.revoke("key2", false).unwrap();
    assert_eq!((revoked.label.as_str(), &revoked.ids[..]), ("key2", &[id(2)][..]));
    assert_eq!(host.revoke("key2", false), Err(KeyProblem::NoSuchKey));
    std::fs::write(host.path(), &old).unwrap();
    assert!(!host.has(id(2)), "an older copy of the file brings nobody back");
    assert!(host.revoke("key2", false).unwrap().changed, "and it can be cleaned");
    let add = host.adding(2, only(&[Verb::Run]));
    assert_eq!(host.owner(&add), Err(KeyProblem::Revoked));
    let KeyRequest::KeyAdd(add) = add else { panic!() };
    let again = KeyRequest::KeyAdd(KeyAdd { again: true, ..add });
    assert!(host.owner(&again).unwrap().changed && host.has(id(2)));
    // An id that the keyring does not have is remembered for the day when it comes.
    assert!(host.revoke(&id(9).to_string(), false).unwrap().changed);
    assert_eq!(host.owner(&host.adding(9, all())), Err(KeyProblem::Revoked));
}

#[test]
fn nobody_is_locked_out() {
    let host = Host::new();
    assert_eq!(host.revoke("key1", false), Err(KeyProblem::OwnKey));
    assert_eq!(host.revoke("key1", true), Err(KeyProblem::LockedOut));
    let narrow = host.allowing("key1", only(&[Verb::Run]));
    assert_eq!(host.owner(&narrow), Err(KeyProblem::LockedOut));
    let end = host.allowing("key1", Rules { not_after: Some(4_000_000_000), ..all() });
    assert_eq!(host.owner(&end), Err(KeyProblem::LockedOut));
    let nowhere = Rules { networks: Some(vec!["10.0.0.0/8".to_owned()]), ..all() };
    assert_eq!(host.owner(&host.allowing("key1", nowhere.clone())), Err(KeyProblem::LockedOut));
    let never = host.owner(&host.allowing("key1", Rules { max_sessions: Some(0), ..all() }));
    assert!(matches!(never, Err(KeyProblem::Form(_) | KeyProblem::Mistake(_))), "{never:?}");
    let peer = |address: &str| Peer { address: address.parse().unwrap(), is_own: false };
    let from = |address| Asker::Key(owner(), Some(peer(address)));
    let there = host.allowing("key1", nowhere);
    assert_eq!(host.by(from("192.0.2.1"), &there), Err(KeyProblem::LockedOut));
    assert!(host.by(from("10.0.0.1"), &there).unwrap().changed);
    // Where it has come from all the time, it will again.
    assert!(host.owner(&host.adding(3, only(&[Verb::Run]))).unwrap().changed);
    assert!(host.revoke("key3", false).unwrap().changed);
    assert!(host.owner(&host.allowing("key1", all())).unwrap().changed);
    // Another owner is of use only once he has come in.
    host.owner(&host.adding(2, all())).unwrap();
    assert_eq!(host.revoke("key1", true), Err(KeyProblem::LockedOut));
    host.logged_in.borrow_mut().push(id(2));
    assert_eq!(host.owner(&end), Err(KeyProblem::Stale));
    let end = host.allowing("key1", Rules { not_after: Some(4_000_000_000), ..all() });
    assert!(host.owner(&end).is_ok_and(|changed| changed.changed));
    assert_eq!(host.revoke("key2", false), Err(KeyProblem::LockedOut));
    assert!(host.revoke("key1", true).is_ok());
    assert!(!host.has(owner()) && host.has(id(2)));
}

#[test]
fn where_every_key_has_an_end_already_the_one_that_asks_is_enough() {
    let host = Host::new();
    host.owner(&host.adding(2, only(&[Verb::Run]))).unwrap();
    let text = host.text().replacen("verbs", "not_after = 2099-01-01T00:00:00Z\nverbs", 1);
    std::fs::write(host.path(), text).unwrap();
    assert!(host.revoke("key2", false).is_ok());
    assert_eq!(host.revoke("key1", true), Err(KeyProblem::LockedOut));
}

#[test]
fn a_rotation_can_be_cut_at_every_step_and_repeated() {
    let host = Host::new();
    let begin =
        |key| KeyRequest::KeyRotate(KeyRotate::Begin { id: id(key), verifier: verifier(key) });
    let finish = KeyRequest::KeyRotate(KeyRotate::Finish);
    let (old, new) = (Asker::Key(owner(), None), Asker::Key(id(5), None));
    assert_eq!(host.by(old, &finish), Err(KeyProblem::NotPending));
    // Another one that was begun before is given up.
    assert!(host.by(old, &begin(4)).unwrap().changed && host.has(id(4)));
    assert!(host.by(old, &begin(5)).unwrap().changed && !host.has(id(4)));
    assert!(!host.by(old, &begin(5)).unwrap().changed);
    assert!(host.has(owner()) && host.has(id(5)));
    assert_eq!(host.by(old, &finish), Err(KeyProblem::NotPending));
    let done = host.by(new, &finish).unwrap();
    assert_eq!((done.changed, &done.ids[..]), (true, &[id(5), owner()][..]));
    assert!(!host.has(owner()) && host.has(id(5)));
    assert!(!host.by(new, &finish).unwrap().changed);
    assert!(!host.by(new, &begin(5)).unwrap().changed);
    // By the first id it is known, and can be revoked, for ever.
    host.logged_in.borrow_mut().push(id(2));
    host.by(Asker::Host, &host.adding(2, all())).unwrap();
    let first = owner().to_string();
    let revoke = KeyRequest::KeyRevoke(KeyRevoke { key: first, keep_jobs: false, force: false });
    assert_eq!(host.by(Asker::Key(id(2), None), &revoke).unwrap().ids, [id(5), owner()]);
    assert!(!host.has(id(5)));
}
