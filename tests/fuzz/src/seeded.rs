//! Seeded mutations of real traffic through the fuzz targets' entry functions: what every run of the
//! tests does, without a fuzzer. `MUTATION_SEED` repeats a run, `MUTATIONS` sets how many.

/// The seed where none is set.
const SEED: u64 = 20_260_901;

/// A small generator (xorshift*), so that a seed means the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// Changes a byte, leaves a part out, says a part twice, cuts the end off, or puts one of
    /// `fragments` in; a few times.
    fn mutate(&mut self, bytes: &mut Vec<u8>, fragments: &[&str]) {
        for _ in 0..self.below(5) {
            let at = self.below(bytes.len());
            let end = (at + self.below(40)).min(bytes.len());
            match self.below(6) {
                0 if !bytes.is_empty() => bytes[at] = self.next() as u8,
                1 => drop(bytes.drain(at..end)),
                2 => {
                    let piece = bytes[at..end].to_vec();
                    let to = self.below(bytes.len());
                    bytes.splice(to..to, piece);
                }
                3 => bytes.truncate(at.max(1)),
                _ => {
                    let fragment = fragments[self.below(fragments.len())];
                    bytes.splice(at..at, fragment.bytes());
                }
            }
        }
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}

/// Gives `entry` `runs` mutations of `corpus`. `fragments` are pieces that a random byte would hardly
/// ever make. Names the seed, the number and the bytes when `entry` panics.
pub fn run(corpus: &[Vec<u8>], fragments: &[&str], runs: u64, entry: impl Fn(&[u8])) {
    let seed = setting("MUTATION_SEED", SEED);
    let mut random = Random(seed | 1);
    for number in 0..setting("MUTATIONS", runs) {
        let mut bytes = corpus[random.below(corpus.len())].clone();
        random.mutate(&mut bytes, fragments);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| entry(&bytes)));
        if let Err(cause) = outcome {
            let text = String::from_utf8_lossy(&bytes);
            eprintln!("seed {seed}, number {number}: {text:?}");
            std::panic::resume_unwind(cause);
        }
    }
}
