//! Limits how much output of jobs is kept, per key and in total. Beyond a limit, jobs that have ended are
//! removed early. Of the keys that share a limit, the one that keeps most loses its oldest job first, so a key
//! that keeps little loses nothing to one that keeps much.

use std::collections::BTreeMap;
use std::io;
use std::time::SystemTime;

use lariat_base::name::KeyId;

use super::name::JobName;
use super::start::Jobs;
use crate::budget::Bounds;

/// Bytes of output that are reserved for owners.
const RESERVED: u64 = 1024 * 1024 * 1024;

/// Most jobs whose result no controller fetched, and most bytes of all of them.
const UNFETCHED: Bounds = Bounds::new(1024, 128);
const UNFETCHED_BYTES: Bounds = Bounds::new(256 * 1024 * 1024, 32 * 1024 * 1024);

/// What a job occupies on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) job: JobName,
    pub(super) is_detached: bool,
    /// Its supervisor runs, so it can't be removed.
    pub(super) is_alive: bool,
    /// When its record was last written to.
    pub(super) at: SystemTime,
    pub(super) bytes: u64,
}

impl Kept {
    /// It ended, and no controller fetched its result.
    fn is_unfetched(&self) -> bool {
        !self.is_detached && !self.is_alive
    }
}

impl Jobs {
    /// Makes room for one more detached job of this key. Returns whether there is room.
    pub fn make_room(&self, key: KeyId, is_owner: impl Fn(KeyId) -> bool) -> io::Result<bool> {
        let kept = self.directories.kept()?;
        let mut room = Room::new(self.bounds(), is_owner);
        kept.iter().for_each(|kept| room.add(kept, self.bytes_of(kept)));
        room.account(key).used += self.most_of_one();
        let is_there = room.fit(Some(key));
        if is_there {
            room.gone.into_iter().try_for_each(|job| self.release(job))?;
        }
        Ok(is_there)
    }

    /// Removes jobs beyond the limits. Returns how many.
    pub(super) fn trim(&self, is_owner: impl Fn(KeyId) -> bool) -> io::Result<usize> {
        let mut kept = self.directories.kept()?;
        let before = kept.len();
        let mut keep_to = |bounds, amount: &dyn Fn(&Kept) -> Option<u64>| -> io::Result<()> {
            let mut room = Room::new(bounds, &is_owner);
            for (kept, amount) in kept.iter().filter_map(|kept| Some((kept, amount(kept)?))) {
                room.add(kept, amount);
            }
            // Running jobs beyond the limits are removed once they have ended.
            let _fits = room.fit(None);
            kept.retain(|kept| !room.gone.contains(&kept.job));
            room.gone.into_iter().try_for_each(|job| self.release(job))
        };
        keep_to(UNFETCHED, &|kept| kept.is_unfetched().then_some(1))?;
        keep_to(UNFETCHED_BYTES, &|kept| kept.is_unfetched().then_some(kept.bytes))?;
        keep_to(self.bounds(), &|kept| Some(self.bytes_of(kept)))?;
        Ok(before - kept.len())
    }

    /// The most that a running detached job may occupy.
    fn most_of_one(&self) -> u64 {
        self.settings().log_limit.saturating_mul(2)
    }

    fn bytes_of(&self, kept: &Kept) -> u64 {
        if kept.is_alive && kept.is_detached { self.most_of_one() } else { kept.bytes }
    }

    /// One job of an owner and one of another key always fit.
    fn bounds(&self) -> Bounds {
        let one = self.most_of_one();
        Bounds::new(self.settings().output.max(one.saturating_mul(2)), RESERVED.max(one))
    }
}

/// The usage of each key.
struct Room<F> {
    bounds: Bounds,
    is_owner: F,
    accounts: BTreeMap<KeyId, Account>,
    /// Jobs to remove so that the others fit.
    gone: Vec<JobName>,
}

/// What a key occupies.
struct Account {
    is_owner: bool,
    used: u64,
    /// Jobs that can be removed, and how much each of them occupies.
    ended: Vec<(SystemTime, JobName, u64)>,
}

impl<F: Fn(KeyId) -> bool> Room<F> {
    fn new(bounds: Bounds, is_owner: F) -> Self {
        Self { bounds, is_owner, accounts: BTreeMap::new(), gone: Vec::new() }
    }

    fn account(&mut self, key: KeyId) -> &mut Account {
        let new = || Account { is_owner: (self.is_owner)(key), used: 0, ended: Vec::new() };
        self.accounts.entry(key).or_insert_with(new)
    }

    fn add(&mut self, kept: &Kept, amount: u64) {
        let account = self.account(kept.job.key);
        account.used = account.used.saturating_add(amount);
        if !kept.is_alive {
            account.ended.push((kept.at, kept.job, amount));
        }
    }

    /// Selects jobs for removal until one key, or each, and all of them are within their limits. Returns
    /// whether the rest fits.
    fn fit(&mut self, one: Option<KeyId>) -> bool {
        for account in self.accounts.values_mut() {
            // The newest first: the last one is removed next.
            account.ended.sort_unstable_by(|one, other| other.cmp(one));
        }
        let bounds = self.bounds;
        let keys: Vec<_> =
            self.accounts.iter().map(|(&key, account)| (key, account.is_owner)).collect();
        let mut fits = true;
        for (key, is_owner) in
            keys.iter().copied().filter(|&(key, _)| one.is_none_or(|one| one == key))
        {
            fits &= self.keep_to(bounds.of_one(is_owner), |other, _| other == key);
        }
        // The limit of keys that are not owners does not apply to an owner.
        if keys.iter().any(|&(key, is_owner)| !is_owner && one.is_none_or(|one| one == key)) {
            fits &= self.keep_to(bounds.of_others(), |_, account| !account.is_owner);
        }
        self.keep_to(bounds.total(), |_, _| true) && fits
    }

    /// Selects jobs of the keys that share a limit until their usage is at most `most`.
    fn keep_to(&mut self, most: u64, share: impl Fn(KeyId, &Account) -> bool) -> bool {
        loop {
            let mut sharing: Vec<&mut Account> = self
                .accounts
                .iter_mut()
                .filter_map(|(&key, account)| share(key, account).then_some(account))
                .collect();
            let used = sharing.iter().map(|account| account.used).fold(0, u64::saturating_add);
            if used <= most {
                return true;
            }
            sharing.retain(|account| !account.ended.is_empty());
            let Some(largest) = sharing.into_iter().max_by_key(|account| account.used) else {
                return false;
            };
            if let Some((_, job, amount)) = largest.ended.pop() {
                largest.used = largest.used.saturating_sub(amount);
                self.gone.push(job);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lariat_base::name::{BootId, JobId};
    use proptest::prelude::*;

    use super::*;
    use crate::jobs::record::{Mark, Record};
    use crate::jobs::settings::Settings;

    const OWNER: u8 = 9;

    fn kept(key: u8, job: u8, seconds: u64) -> Kept {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let job = JobName { key: KeyId([key; 16]), id: JobId([job; 16]) };
        Kept { job, is_detached: true, is_alive: false, at, bytes: 0 }
    }

    fn room(total: u64, reserved: u64, all: &[(Kept, u64)]) -> Room<fn(KeyId) -> bool> {
        let is_owner: fn(KeyId) -> bool = |key| key.0[0] == OWNER;
        let mut room = Room::new(Bounds::new(total, reserved), is_owner);
        all.iter().for_each(|(kept, amount)| room.add(kept, *amount));
        room
    }

    /// Which jobs are removed, and whether the others fit.
    fn gone(total: u64, reserved: u64, all: &[(Kept, u64)], one: Option<u8>) -> (Vec<u8>, bool) {
        let mut room = room(total, reserved, all);
        let fits = room.fit(one.map(|key| KeyId([key; 16])));
        (room.gone.iter().map(|job| job.id.0[0]).collect(), fits)
    }

    #[test]
    fn the_oldest_of_a_key_go_until_the_others_fit() {
        let all = [(kept(1, 3, 30), 100), (kept(1, 1, 10), 50), (kept(1, 2, 20), 0)];
        let gone = |most: u64| gone(most * 2, 0, &all, None);
        assert_eq!(gone(150), (vec![], true));
        assert_eq!(gone(149), (vec![1], true));
        assert_eq!(gone(100), (vec![1], true));
        assert_eq!(gone(99), (vec![1, 2, 3], true));
        assert_eq!(gone(0), (vec![1, 2, 3], true));
    }

    #[test]
    fn the_key_that_keeps_most_loses_first() {
        let all = [
            (kept(1, 11, 50), 40),
            (kept(1, 12, 60), 40),
            (kept(2, 21, 40), 60),
            (kept(3, 31, 10), 5),
        ];
        assert_eq!(gone(200, 50, &all, None), (vec![], true));
        assert_eq!(gone(180, 50, &all, None), (vec![11], true), "no more than 130 without owners");
        assert_eq!(gone(180, 50, &all, Some(OWNER)), (vec![], true));
        let with_owner = [&all[..], &[(kept(OWNER, 91, 70), 50)]].concat();
        assert_eq!(gone(150, 50, &with_owner, Some(OWNER)), (vec![11, 21], true));
    }

    #[test]
    fn running_jobs_stay_and_new_ones_beyond_the_limit_are_refused() {
        let running = |key, job, amount| (Kept { is_alive: true, ..kept(key, job, 0) }, amount);
        let all = [running(1, 11, 50), running(2, 21, 50), (kept(3, 31, 9), 30)];
        assert_eq!(gone(200, 80, &all, Some(1)), (vec![31], true));
        assert_eq!(gone(200, 100, &all, Some(1)), (vec![31], true));
        let more = [&all[..], &[running(1, 12, 60)]].concat();
        assert_eq!(gone(400, 200, &more, Some(1)), (vec![], true));
        assert!(!gone(200, 100, &more, Some(1)).1);
        let owner = [&more[..], &[running(OWNER, 91, 40)]].concat();
        assert_eq!(
            gone(200, 100, &owner, Some(OWNER)),
            (vec![31], true),
            "it always has its share"
        );
    }

    #[test]
    fn unfetched_results_are_limited_per_key() {
        let state = tempfile::tempdir().unwrap();
        let settings = Settings {
            supervisor: "/nonexistent".into(),
            host: "web1".parse().unwrap(),
            path: Vec::new(),
            lang: Vec::new(),
            max_grace: Duration::ZERO,
            log_limit: 1 << 20,
            output: 1 << 30,
            tasks_max: 1,
            memory_max: 1,
            keep: Duration::ZERO,
            boot: BootId([1; 16]),
        };
        let jobs = Jobs::open(state.path(), settings).unwrap();
        let start = |key: u8, number: u16, detached| {
            let mut job = JobName { key: KeyId([key; 16]), id: JobId([0; 16]) };
            job.id.0[..2].copy_from_slice(&number.to_le_bytes());
            let record = Record {
                version: 1,
                key: job.key,
                boot: BootId([1; 16]),
                began_ms: 0,
                detached,
                user: None,
                summary: Vec::new(),
            };
            let made = jobs.directories.create(job, &record).unwrap();
            Mark::Began.add(&made.record).unwrap();
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1 + u64::from(number));
            made.record.set_modified(at).unwrap();
            job
        };
        let many: Vec<_> = (0..520).map(|number| start(1, number, false)).collect();
        let others = [start(2, 0, false), start(1, 0xffff, true)];
        let is_kept = |job: &JobName| jobs.directories.find(*job).is_ok();
        assert_eq!(jobs.trim(|_| false).unwrap(), 8);
        assert!(many[..8].iter().all(|job| !is_kept(job)));
        assert!(many[8..].iter().chain(&others).all(is_kept));
        assert_eq!(jobs.trim(|_| false).unwrap(), 0);
    }

    proptest! {
        #[test]
        fn limits_hold_and_nothing_is_removed_needlessly(
            all in proptest::collection::vec((0_u8..4, 0_u64..99, 0_u64..50), 0..30),
        ) {
            let key = |key| if key == 0 { OWNER } else { key };
            let all: Vec<_> = (0..)
                .zip(all)
                .map(|(job, (number, at, amount))| (kept(key(number), job, at), amount))
                .collect();
            let mut room = room(200, 60, &all);
            prop_assert!(room.fit(None));
            let sum = |of: &dyn Fn(&Account) -> bool| {
                let counted = room.accounts.values().filter(|account| of(account));
                counted.map(|account| account.used).sum::<u64>()
            };
            prop_assert!(sum(&|_| true) <= 200);
            prop_assert!(sum(&|account| !account.is_owner) <= 140);
            for account in room.accounts.values() {
                let most = if account.is_owner { 140 } else { 100 };
                prop_assert!(account.used <= most);
            }
            let left = all.iter().filter(|(kept, _)| !room.gone.contains(&kept.job));
            prop_assert_eq!(left.map(|(_, amount)| amount).sum::<u64>(), sum(&|_| true));
            if all.iter().map(|(_, amount)| amount).sum::<u64>() <= 100 {
                prop_assert!(room.gone.is_empty());
            }
        }
    }
}
