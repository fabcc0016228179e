//! Random numbers for the simulation: by table, so that a second of traffic costs three look-ups also in a debug build.

use fastrand::Rng;

/// A Poisson distribution, as its cumulative probabilities in units of 2^-64, with an index over their upper bits.
pub struct Poisson {
    cumulative: Vec<u64>,
    start: [u16; 256],
}

impl Poisson {
    /// With `mean` events on average; at most some hundred.
    pub fn new(mean: f64) -> Self {
        assert!((0.0..=500.0).contains(&mean), "{mean}");
        let last = (mean + 12.0 * mean.sqrt() + 20.0) as u32;
        let mut probability = (-mean).exp();
        let mut sum = 0.0;
        let mut cumulative = Vec::new();
        for k in 0..=last {
            sum += probability;
            cumulative.push((sum * 2.0_f64.powi(64)) as u64); // `as` stops at the largest number
            probability *= mean / f64::from(k + 1);
        }
        let mut start = [0; 256];
        for (slot, first) in (0_u64..).zip(&mut start) {
            let below = slot << 56;
            *first = cumulative.iter().take_while(|c| **c <= below).count() as u16;
        }
        Self { cumulative, start }
    }

    pub fn draw(&self, rng: &mut Rng) -> u64 {
        let random = rng.u64(..);
        let mut k = usize::from(self.start[(random >> 56) as usize]);
        while k + 1 < self.cumulative.len() && self.cumulative[k] <= random {
            k += 1;
        }
        k as u64
    }
}

/// How many of `n` fall on the side whose part of all is `share`.
pub fn split(n: u64, share: f64, rng: &mut Rng) -> u64 {
    (0..n).filter(|_| rng.f64() < share).count() as u64
}

#[test]
fn the_table_has_the_mean_and_the_variance_of_the_distribution() {
    for mean in [0.0, 0.01, 1.0, 9.5, 190.0] {
        let (poisson, mut rng) = (Poisson::new(mean), Rng::with_seed(7));
        let n = 20_000;
        let draws: Vec<f64> = (0..n).map(|_| poisson.draw(&mut rng) as f64).collect();
        let average = draws.iter().sum::<f64>() / f64::from(n);
        let variance = draws.iter().map(|d| (d - average).powi(2)).sum::<f64>() / f64::from(n);
        let error = (mean / f64::from(n)).sqrt();
        assert!((average - mean).abs() <= 4.0 * error, "{average} for {mean}");
        assert!(
            (variance - mean).abs() <= 0.05 * mean + 0.01,
            "{variance} for {mean}"
        );
    }
}
