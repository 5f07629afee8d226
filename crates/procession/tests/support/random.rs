//! What tests of chance draw from.

/// A small generator (xorshift64*): the same seed, the same run.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn start() -> Self {
        let seed = std::env::var("PROCESSION_CHAOS_SEED").map_or_else(
            |_| u64::from(std::process::id()) << 20 | 0x9E37,
            |seed| seed.parse().expect("PROCESSION_CHAOS_SEED is a number"),
        );
        eprintln!("seed: {seed}");
        Self(seed.max(1))
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % limit
    }
}
