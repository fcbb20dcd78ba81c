//! Repeatable random choices: all of them come from one seed, which a failing test prints.

/// A random number generator, good enough for choices.
pub struct Rng {
    seed: u64,
    state: u64,
}

impl Rng {
    /// Seeded from the environment variable `LARIAT_SEED`, or from the time.
    pub fn new() -> Self {
        Self::from_seed(number("LARIAT_SEED").unwrap_or_else(|| {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            now.map_or(1, |now| u64::from(now.subsec_nanos()))
        }))
    }

    /// Seeded with this number.
    pub fn from_seed(seed: u64) -> Self {
        Self { seed, state: seed }
    }

    /// The value of `LARIAT_SEED` that repeats these choices.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// A number below `end`, which must not be 0.
    pub fn below(&mut self, end: u64) -> u64 {
        // splitmix64
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.state;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (word ^ (word >> 31)) % end
    }

    /// True one time in `times`.
    pub fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

impl Default for Rng {
    fn default() -> Self {
        Self::new()
    }
}

/// A number in an environment variable, if that is set.
///
/// # Panics
/// If it is not a number.
pub fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is not a number")))
}
