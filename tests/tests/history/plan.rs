//! What is done to a deployment, and when: all of it follows from a seed.

use std::time::Duration;

use tiergate_tests::Line;

/// The shared stores.
pub const STORES: [&str; 2] = ["memcached", "redis"];

/// Gateways of the deployment.
pub const GATEWAYS: usize = 3;

/// Numbers that follow from a seed (SplitMix64: Steele, Lea, Flood 2014).
#[derive(Clone)]
pub struct Dice(u64);

impl Dice {
    /// Those of participant `who`.
    pub fn new(seed: u64, who: u64) -> Self {
        Self(seed ^ who.wrapping_mul(0xa076_1d64_78bd_642f))
    }

    /// One of `0..below`.
    pub fn below(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }

    /// So many milliseconds, at least `from`, less than `to`.
    pub fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }
}

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// A store stops answering; its connections stay open.
    FrozenStore(usize),
    /// A store is killed and comes back empty.
    EmptiedStore(usize),
    /// The line between the gateways and a store is cut, or slow.
    Line(usize, Line),
    /// A gateway is killed, and started again.
    KilledGateway(usize),
    /// A gateway stops, and goes on later as if nothing had been.
    FrozenGateway(usize),
}

/// A fault, for how long, and how long all is well afterwards.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    pub fault: Fault,
    pub lasts: Duration,
    pub rest: Duration,
}

/// The steps of `seed`, without end.
pub fn steps(seed: u64) -> impl Iterator<Item = Step> {
    let mut dice = Dice::new(seed, u64::MAX);
    std::iter::repeat_with(move || {
        let store = dice.below(STORES.len() as u64) as usize;
        let gateway = dice.below(GATEWAYS as u64) as usize;
        let fault = match dice.below(7) {
            0 => Fault::FrozenStore(store),
            1 => Fault::EmptiedStore(store),
            2 => Fault::Line(store, Line::Cut),
            3 => Fault::Line(store, Line::Slow(Duration::from_millis(200))),
            4 | 5 => Fault::KilledGateway(gateway),
            _ => Fault::FrozenGateway(gateway),
        };
        Step { fault, lasts: dice.millis(200, 2_000), rest: dice.millis(200, 1_500) }
    })
}
