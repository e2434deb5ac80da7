//! What is done to a deployment, and when: all of it follows from a seed.

use std::ops::Range;
use std::time::Duration;

use fastrand::Rng;
use tiergate_tests::Line;

/// The shared stores.
pub const STORES: [&str; 2] = ["memcached", "redis"];

/// Gateways of the deployment.
pub const GATEWAYS: usize = 3;

/// What participant `who` throws; it follows from the seed.
pub fn dice(seed: u64, who: u64) -> Rng {
    Rng::with_seed(seed ^ who.wrapping_mul(0xa076_1d64_78bd_642f))
}

/// So many milliseconds.
pub fn millis(dice: &mut Rng, span: Range<u64>) -> Duration {
    Duration::from_millis(dice.u64(span))
}

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// A store stops answering; its connections stay open.
    FrozenStore(usize),
    /// A store is killed and comes back empty.
    EmptiedStore(usize),
    /// Redis answers, and takes nothing, because it is full.
    FullRedis,
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
    let mut dice = dice(seed, u64::MAX);
    std::iter::repeat_with(move || {
        let store = dice.usize(..STORES.len());
        let gateway = dice.usize(..GATEWAYS);
        let fault = match dice.u64(..8) {
            0 => Fault::FrozenStore(store),
            1 => Fault::EmptiedStore(store),
            2 => Fault::Line(store, Line::Cut),
            3 => Fault::Line(store, Line::Slow(Duration::from_millis(200))),
            4 | 5 => Fault::KilledGateway(gateway),
            6 => Fault::FullRedis,
            _ => Fault::FrozenGateway(gateway),
        };
        Step { fault, lasts: millis(&mut dice, 200..2_000), rest: millis(&mut dice, 200..1_500) }
    })
}
