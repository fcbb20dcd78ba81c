//! The certificates of this host: the one that is kept, and for a while a newer one that is tried.
//!
//! A new certificate is kept only on a connection that was made with it, so a host never keeps one with which it can't
//! be reached.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lariat_base::lock::lock;

use crate::identity::Identity;

/// How long a certificate is tried.
const TRIAL: Duration = Duration::from_secs(60);

/// The certificates that new connections may be made with.
pub struct Certificates(Mutex<State>);

struct State {
    kept: Arc<Identity>,
    tried: Option<(Arc<Identity>, Instant)>,
}

impl Certificates {
    /// The certificate that is on disk.
    pub fn new(kept: Identity) -> Self {
        Self(Mutex::new(State { kept: Arc::new(kept), tried: None }))
    }

    /// The one that a new connection is made with.
    pub fn present(&self) -> Arc<Identity> {
        lock(&self.0).present(Instant::now())
    }

    /// The one that is on disk.
    pub fn kept(&self) -> Arc<Identity> {
        Arc::clone(&lock(&self.0).kept)
    }

    /// Makes new connections with this one, for a while.
    pub fn try_out(&self, identity: Identity) {
        lock(&self.0).tried = Some((Arc::new(identity), Instant::now() + TRIAL));
    }

    /// This one is on disk now.
    pub fn keep(&self, identity: Arc<Identity>) {
        *lock(&self.0) = State { kept: identity, tried: None };
    }
}

impl State {
    fn present(&mut self, now: Instant) -> Arc<Identity> {
        self.tried = self.tried.take().filter(|(_, until)| now < *until);
        Arc::clone(self.tried.as_ref().map_or(&self.kept, |(tried, _)| tried))
    }
}

#[cfg(test)]
mod tests {
    use lariat_base::private;
    use lariat_certs::ca::Ca;

    use super::*;

    fn identity() -> Identity {
        let directory = crate::private_directory();
        let leaf = Ca::create().unwrap().issue(&"web1".parse().unwrap()).unwrap();
        let [certificate, key] = ["host.pem", "host.key"].map(|name| directory.path().join(name));
        private::create(&certificate, leaf.certificate_pem.as_bytes()).unwrap();
        private::create(&key, leaf.key_pem.as_bytes()).unwrap();
        Identity::read(&certificate, &key).unwrap()
    }

    #[test]
    fn a_certificate_that_is_not_kept_in_time_is_dropped() {
        let [old, new] = [(); 2].map(|()| identity());
        let certificates = Certificates::new(old);
        let kept = certificates.kept();
        certificates.try_out(new);
        let tried = certificates.present();
        assert!(!Arc::ptr_eq(&tried, &kept) && Arc::ptr_eq(&certificates.kept(), &kept));
        let mut state = certificates.0.into_inner().unwrap();
        let until = state.tried.as_ref().unwrap().1;
        assert!(Arc::ptr_eq(&state.present(Instant::now()), &tried));
        assert!(Arc::ptr_eq(&state.present(until), &kept));
        assert!(state.tried.is_none());
    }

    #[test]
    fn a_certificate_that_is_kept_takes_the_place_of_the_former() {
        let [old, new] = [(); 2].map(|()| identity());
        let certificates = Certificates::new(old);
        certificates.try_out(new);
        let tried = certificates.present();
        certificates.keep(Arc::clone(&tried));
        assert!(Arc::ptr_eq(&certificates.kept(), &tried));
        assert!(Arc::ptr_eq(&certificates.present(), &tried));
    }
}
