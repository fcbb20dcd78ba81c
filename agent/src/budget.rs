//! What each key may use of the agent: sessions, jobs, and the memory that its requests keep.
//!
//! Everything that a key can make the agent hold is charged here. *Owners*, keys with the verb `keys` and no
//! list of users, have a reserve, so that one of them always gets in. Any other key gets at most half of the
//! total, and all of them together no more than what is not reserved. So no key starves another, and the
//! agent stays within its limits whatever they do.
//!
//! A state machine without I/O behind a lock for each resource; a request beyond a limit is refused, never
//! queued.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use lariat_base::lock::lock;
use lariat_base::name::KeyId;
use lariat_wire::memory::{Account, Memory};
use lariat_wire::protocol::failure::{Cause, Failure, Limit};
use lariat_wire::protocol::verb::Verb;

use crate::keyring::{Entry, Keyring};

/// The total amount of each resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Concurrent sessions.
    pub sessions: usize,
    /// Concurrent jobs, detached ones included.
    pub jobs: usize,
    /// Bytes that requests keep.
    pub memory: usize,
}

/// What is reserved for owners, up to half of the total.
const RESERVED: Limits = Limits { sessions: 16, jobs: 8, memory: 32 * 1024 * 1024 };

/// The total of a resource, and the part of it that is reserved for owners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    total: u64,
    reserved: u64,
}

impl Bounds {
    /// At most half is reserved.
    pub const fn new(total: u64, reserved: u64) -> Self {
        let half = total / 2;
        Self { total, reserved: if reserved < half { reserved } else { half } }
    }

    /// What all keys together may have.
    pub fn total(self) -> u64 {
        self.total
    }

    /// What all keys but the owners may have together.
    pub fn of_others(self) -> u64 {
        self.total - self.reserved
    }

    /// What one key may have.
    pub fn of_one(self, is_owner: bool) -> u64 {
        // The reserve is for other owners too.
        if is_owner { self.of_others().max(1) } else { self.total / 2 }
    }
}

/// A resource that is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Sessions.
    Session,
    /// Jobs.
    Job,
    /// Bytes of memory.
    Memory,
}

/// The key to which a share is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    key: KeyId,
    is_owner: bool,
    /// The key's own limits, from the keyring.
    sessions: Option<usize>,
    jobs: Option<usize>,
}

/// The resource is used up, or the key's limit on it is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", Cause::AtLimit(self.limit()))]
pub struct Exhausted(pub Resource);

impl Exhausted {
    fn limit(self) -> Limit {
        match self.0 {
            Resource::Session => Limit::Sessions,
            Resource::Job => Limit::Jobs,
            Resource::Memory => Limit::Memory,
        }
    }
}

impl From<Exhausted> for Failure {
    fn from(exhausted: Exhausted) -> Self {
        Self::request(Cause::AtLimit(exhausted.limit()))
    }
}

impl Holder {
    /// The holder for a key of the keyring.
    pub fn of(entry: &Entry) -> Self {
        let is_owner = entry.verbs.contains(Verb::Keys) && entry.users.is_none();
        Self { key: entry.owner, is_owner, sessions: entry.max_sessions, jobs: entry.max_jobs }
    }

    /// The holder for the key that is known by this id, its first, which the keyring need not have.
    pub fn named(key: KeyId, keyring: &Keyring) -> Self {
        keyring.of_owner(key).map_or_else(|| Self::unknown(key), |entry| Self::of(entry))
    }

    /// Whether the key is an owner.
    pub fn is_owner(self) -> bool {
        self.is_owner
    }

    /// The holder for a key that is no longer in the keyring, but has jobs from earlier.
    pub fn unknown(key: KeyId) -> Self {
        Self { key, is_owner: false, sessions: None, jobs: None }
    }

    fn own_limit(&self, what: Resource) -> Option<usize> {
        match what {
            Resource::Session => self.sessions,
            Resource::Job => self.jobs,
            Resource::Memory => None,
        }
    }
}

/// The agent's budget. Clones share their state.
#[derive(Clone)]
pub struct Budget(Arc<[Mutex<Pool>; 3]>);

/// The state of one resource.
struct Pool {
    bounds: Bounds,
    used: usize,
    /// The part of `used` that keys other than owners hold.
    used_by_others: usize,
    /// By key. Keys that hold nothing are absent.
    keys: HashMap<KeyId, usize>,
}

impl Budget {
    /// A budget of which nothing is used.
    pub fn new(limits: Limits) -> Self {
        let pool = |total: usize, reserved: usize| {
            Mutex::new(Pool::new(Bounds::new(total as u64, reserved as u64)))
        };
        Self(Arc::new([
            pool(limits.sessions, RESERVED.sessions),
            pool(limits.jobs, RESERVED.jobs),
            pool(limits.memory, RESERVED.memory),
        ]))
    }

    /// Takes an amount, unless that exceeds what the key may have.
    pub fn take(&self, holder: Holder, what: Resource, amount: usize) -> Result<Share, Exhausted> {
        if !self.pool(what).take(holder, holder.own_limit(what), amount) {
            return Err(Exhausted(what));
        }
        Ok(Share { budget: self.clone(), holder, what, amount })
    }

    /// Charges one unit that is held already, whatever the limits.
    pub fn take_held(&self, holder: Holder, what: Resource) -> Share {
        self.pool(what).add(holder, 1);
        Share { budget: self.clone(), holder, what, amount: 1 }
    }

    /// The memory account of this key's requests.
    pub fn memory(&self, holder: Holder) -> Memory {
        Memory::of(Requests { budget: self.clone(), holder })
    }

    /// How much of this resource is used.
    pub fn used(&self, what: Resource) -> usize {
        self.pool(what).used
    }

    /// How much of this resource there is for all keys.
    pub fn total(&self, what: Resource) -> u64 {
        self.pool(what).bounds.total()
    }

    fn pool(&self, what: Resource) -> MutexGuard<'_, Pool> {
        lock(&self.0[what as usize])
    }
}

impl Pool {
    fn new(bounds: Bounds) -> Self {
        Self { bounds, used: 0, used_by_others: 0, keys: HashMap::new() }
    }

    fn take(&mut self, holder: Holder, own_limit: Option<usize>, amount: usize) -> bool {
        let (bounds, Holder { is_owner, .. }) = (self.bounds, holder);
        let mine = self.keys.get(&holder.key).copied().unwrap_or_default();
        let fits =
            |used: usize, most: u64| used.checked_add(amount).is_some_and(|sum| sum as u64 <= most);
        let fits_key = fits(mine, bounds.of_one(is_owner))
            && (is_owner || fits(self.used_by_others, bounds.of_others()));
        let fits_own = own_limit.is_none_or(|limit| fits(mine, limit as u64));
        let may = fits_key && fits_own && fits(self.used, bounds.total());
        if may {
            self.add(holder, amount);
        }
        may
    }

    fn add(&mut self, holder: Holder, amount: usize) {
        self.used += amount;
        if !holder.is_owner {
            self.used_by_others += amount;
        }
        *self.keys.entry(holder.key).or_default() += amount;
    }

    fn give(&mut self, holder: Holder, amount: usize) {
        self.used -= amount;
        if !holder.is_owner {
            self.used_by_others -= amount;
        }
        if let Some(mine) = self.keys.get_mut(&holder.key) {
            *mine -= amount;
            if *mine == 0 {
                self.keys.remove(&holder.key);
            }
        }
    }
}

/// An amount that a key holds. Dropping it gives the amount back.
pub struct Share {
    budget: Budget,
    holder: Holder,
    what: Resource,
    amount: usize,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.pool(self.what).give(self.holder, self.amount);
    }
}

/// Charges a key's requests for memory.
struct Requests {
    budget: Budget,
    holder: Holder,
}

impl Account for Requests {
    fn take(&self, bytes: usize) -> bool {
        self.budget.pool(Resource::Memory).take(self.holder, None, bytes)
    }

    fn give(&self, bytes: usize) {
        self.budget.pool(Resource::Memory).give(self.holder, bytes);
    }
}

#[cfg(test)]
mod tests {
    use lariat_wire::protocol::verb::Verbs;
    use proptest::prelude::*;

    use super::*;
    use crate::keyring::Lined;

    const LIMITS: Limits = Limits { sessions: 100, jobs: 40, memory: 1 << 30 };

    fn holder(key: u8, is_owner: bool) -> Holder {
        Holder { is_owner, ..Holder::unknown(KeyId([key; 16])) }
    }

    fn many(budget: &Budget, holder: Holder, what: Resource) -> Vec<Share> {
        std::iter::from_fn(|| budget.take(holder, what, 1).ok()).collect()
    }

    #[test]
    fn whoever_takes_what_there_is_an_owner_always_gets_in() {
        let budget = Budget::new(LIMITS);
        let shares: Vec<Vec<Share>> =
            (1..9).map(|key| many(&budget, holder(key, false), Resource::Session)).collect();
        let counts: Vec<usize> = shares.iter().map(Vec::len).collect();
        assert_eq!(counts, [50, 34, 0, 0, 0, 0, 0, 0], "half a key, and 16 for owners");
        let owner = many(&budget, holder(9, true), Resource::Session);
        assert_eq!(owner.len(), 16);
        drop(shares);
        let more = many(&budget, holder(9, true), Resource::Session);
        assert_eq!(more.len(), 68, "and the rest is for another owner");
        assert_eq!(many(&budget, holder(10, true), Resource::Session).len(), 16);
        assert_eq!(many(&budget, holder(1, false), Resource::Job).len(), 20, "another resource");
    }

    #[test]
    fn a_key_has_its_own_limits_and_what_is_held_already_counts() {
        let budget = Budget::new(LIMITS);
        let few = Holder { jobs: Some(3), ..holder(1, false) };
        let held = budget.take_held(few, Resource::Job);
        assert_eq!(many(&budget, few, Resource::Job).len(), 2);
        drop(held);
        let small = Budget::new(Limits { sessions: 1, jobs: 2, memory: 0 });
        assert_eq!(many(&small, holder(1, true), Resource::Session).len(), 1);
        assert_eq!(many(&small, holder(1, false), Resource::Job).len(), 1);
        let mut charge = small.memory(holder(1, true)).charge();
        assert!(charge.set(1).is_err());
    }

    #[test]
    fn an_owner_has_the_verb_keys_and_no_user_to_keep_to() {
        let entry = Entry::for_tests(Verbs::all());
        assert!(Holder::of(&entry).is_owner);
        let verbs = Verb::ALL.iter().copied().filter(|&verb| verb != Verb::Keys);
        assert!(!Holder::of(&Entry::for_tests(verbs.collect())).is_owner);
        let mut kept = entry;
        kept.users = Some(Lined { line: 1, value: vec!["root".to_owned()] });
        assert!(!Holder::of(&kept).is_owner);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_no_limit_is_passed(
            steps in proptest::collection::vec((0_u8..6, any::<bool>(), 1_usize..9), 1..200),
        ) {
            let budget = Budget::new(Limits { sessions: 60, ..LIMITS });
            let mut shares = Vec::new();
            for (key, takes, amount) in steps {
                if takes {
                    let holder = holder(key, key == 0);
                    shares.extend(budget.take(holder, Resource::Session, amount).ok());
                } else if !shares.is_empty() {
                    shares.swap_remove(amount % shares.len());
                }
                let sum = |of: &dyn Fn(&Share) -> bool| {
                    shares.iter().filter(|share| of(share)).map(|share| share.amount).sum::<usize>()
                };
                prop_assert_eq!(budget.used(Resource::Session), sum(&|_| true));
                prop_assert!(sum(&|_| true) <= 60);
                prop_assert!(sum(&|share| !share.holder.is_owner) <= 44);
                prop_assert!(sum(&|share| share.holder.key == KeyId([3; 16])) <= 30);
            }
            drop(shares);
            prop_assert_eq!(budget.used(Resource::Session), 0);
            prop_assert!(budget.pool(Resource::Session).keys.is_empty());
        }
    }
}
