//! The one place that decides what a key may do.
//!
//! A pure function over an exhaustive match: a new request does not compile until it is decided here
//! who may make it.

use std::time::SystemTime;

use lariat_common::protocol::failure::{Cause, Failure};
use lariat_common::protocol::grant::Verb;
use lariat_common::protocol::request::Request;

use crate::keyring::Entry;

/// Whether `key` may make `request` at this time. A session may outlive its key's dates, so they
/// count at each request and not only at the login.
pub fn decide(key: &Entry, request: &Request, now: SystemTime) -> Result<(), Failure> {
    let verb = match request {
        Request::Run(_) => Verb::Run,
        Request::Push(_) | Request::PushTree(_) => Verb::Push,
        Request::Pull(_) => Verb::Pull,
    };
    if key.grant.permits(verb) && key.is_current(now) {
        Ok(())
    } else {
        Err(Failure::request(Cause::NotPermitted(verb.into())))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use lariat_common::name::JobId;
    use lariat_common::protocol::exec::{Command, Run};
    use lariat_common::protocol::grant::Grant;

    use super::*;

    fn run() -> Request {
        Request::Run(Run {
            job: JobId([0; 16]),
            command: Command::Shell(b"true".to_vec()),
            cwd: None,
            env: Vec::new(),
            stdin: false,
            timeout_ms: None,
            grace_ms: 0,
        })
    }

    #[test]
    fn a_verb_needs_its_own_grant_and_a_key_that_is_current() {
        let now = UNIX_EPOCH + Duration::from_secs(1000);
        let key = |verbs: &[Verb]| Entry::for_tests(verbs.iter().copied().collect());
        assert_eq!(decide(&key(&[Verb::Run]), &run(), now), Ok(()));
        assert_eq!(decide(&Entry::for_tests(Grant::ALL), &run(), now), Ok(()));
        let others = [Verb::Push, Verb::Pull, Verb::Shell, Verb::Jobs];
        for refused in [key(&[]), key(&others)] {
            let failure = decide(&refused, &run(), now).unwrap_err();
            assert_eq!(failure.to_string(), "this key is not permitted to run on this host");
        }
        let mut expired = key(&[Verb::Run]);
        expired.not_after = Some(now);
        assert_eq!(decide(&expired, &run(), now), Ok(()));
        assert!(decide(&expired, &run(), now + Duration::from_secs(1)).is_err());
    }
}
