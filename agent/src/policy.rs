//! The only place that decides what a key may do.
//!
//! A pure function over an exhaustive match: a new request does not compile until its permission is decided
//! here.

use std::time::SystemTime;

use lariat_wire::protocol::failure::{Cause, Failure};
use lariat_wire::protocol::request::{JobRequest, Request};
use lariat_wire::protocol::verb::Verb;

use crate::keyring::Entry;
use crate::user::User;

/// Whether `key` may make `request` at this time, to an agent that works as the user `own` unless the request
/// names another. A session may outlive its key's dates, so they are checked for each request, not only at
/// the login.
pub fn decide(key: &Entry, request: &Request, own: &User, now: SystemTime) -> Result<(), Failure> {
    let verb = match request {
        // A key that may open a shell needs no other verb to come back to it.
        Request::Job(JobRequest::Attach(_)) if key.verbs.contains(Verb::Shell) => Verb::Shell,
        other => other.verb(),
    };
    if !key.verbs.contains(verb) || !key.is_current(now) {
        return Err(Failure::not_permitted(verb));
    }
    let user = match request {
        Request::Job(request) => match request {
            JobRequest::Run(run) => run.user.as_deref(),
            // A job was permitted when it was started; its owner is checked where the job is looked up.
            JobRequest::Attach(_)
            | JobRequest::List(_)
            | JobRequest::Logs(_)
            | JobRequest::Kill(_) => return Ok(()),
        },
        Request::File(request) => request.user(),
    };
    let own = own.name();
    match user.unwrap_or(&own) {
        user if key.may_be(user) => Ok(()),
        user => Err(Failure::request(Cause::NotAsUser(user.to_owned()))),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use lariat_base::name::JobId;
    use lariat_wire::protocol::exec::{Ack, Attach, Command, Run, Streams};
    use lariat_wire::protocol::verb::Verbs;

    use super::*;

    fn run() -> Request {
        Request::Job(JobRequest::Run(Run {
            job: JobId([0; 16]),
            command: Command::Shell(b"true".to_vec()),
            user: None,
            cwd: None,
            env: Vec::new(),
            streams: Streams::Followed { stdin: false },
            timeout_ms: None,
            grace_ms: 0,
        }))
    }

    fn decide(key: &Entry, request: &Request, now: SystemTime) -> Result<(), Failure> {
        let name = b"agent".to_vec();
        let own = User { uid: 5, gid: 5, name, home: vec![], shell: vec![] };
        super::decide(key, request, &own, now)
    }

    #[test]
    fn a_key_with_users_acts_as_nobody_else() {
        let now = UNIX_EPOCH;
        let as_user = |user: &str| match run() {
            Request::Job(JobRequest::Run(run)) => {
                Request::Job(JobRequest::Run(Run { user: Some(user.to_owned()), ..run }))
            }
            other => other,
        };
        let mut key = Entry::for_tests(Verbs::all());
        assert_eq!(decide(&key, &as_user("www"), now), Ok(()), "a key without users is any");
        key.users = Some(vec!["www".to_owned()]);
        assert_eq!(decide(&key, &as_user("www"), now), Ok(()));
        for refused in [as_user("root"), run()] {
            let failure = decide(&key, &refused, now).unwrap_err();
            assert!(matches!(failure.cause, Cause::NotAsUser(_)));
        }
        key.users = Some(vec!["agent".to_owned()]);
        assert_eq!(decide(&key, &run(), now), Ok(()));
        key.users = Some(vec![]);
        assert!(decide(&key, &run(), now).is_err());
    }

    #[test]
    fn a_verb_needs_its_own_grant_and_a_key_that_is_current() {
        let now = UNIX_EPOCH + Duration::from_secs(1000);
        let key = |verbs: &[Verb]| Entry::for_tests(verbs.iter().copied().collect());
        assert_eq!(decide(&key(&[Verb::Run]), &run(), now), Ok(()));
        assert_eq!(decide(&Entry::for_tests(Verbs::all()), &run(), now), Ok(()));
        let others = [Verb::Push, Verb::Pull, Verb::Shell, Verb::Jobs];
        for refused in [key(&[]), key(&others)] {
            let failure = decide(&refused, &run(), now).unwrap_err();
            assert_eq!(failure.to_string(), "this key is not permitted to run on this host");
        }
        let shell = match run() {
            Request::Job(JobRequest::Run(run)) => {
                Request::Job(JobRequest::Run(Run { command: Command::Login, ..run }))
            }
            other => other,
        };
        let attach = Attach { job: JobId([0; 16]), received: Some(Ack::default()) };
        for verb in [Verb::Run, Verb::Shell] {
            assert_eq!(decide(&key(&[verb]), &shell, now).is_ok(), verb == Verb::Shell);
            assert_eq!(
                decide(&key(&[verb]), &Request::Job(JobRequest::Attach(attach)), now),
                Ok(())
            );
        }
        assert!(
            decide(&key(&[Verb::Jobs]), &Request::Job(JobRequest::Attach(attach)), now).is_err()
        );
        let mut expired = key(&[Verb::Run]);
        expired.not_after = Some(now);
        assert_eq!(decide(&expired, &run(), now), Ok(()));
        assert!(decide(&expired, &run(), now + Duration::from_secs(1)).is_err());
    }
}
