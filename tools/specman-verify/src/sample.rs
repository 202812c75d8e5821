//! A random selection from a list, reproducible by its seed.

use std::hash::{BuildHasher, Hasher, RandomState};

/// A random seed.
pub(crate) fn seed() -> u64 {
    // The standard library seeds its maps with the system's random numbers.
    RandomState::new().build_hasher().finish()
}

/// `count` indices below `total` in order, or all if there are fewer.
pub(crate) fn choose(total: usize, count: usize, seed: u64) -> Vec<usize> {
    let mut places: Vec<usize> = (0..total).collect();
    let mut state = seed;
    let count = count.min(total);
    for place in 0..count {
        let rest = (total - place) as u64;
        let other = place + ((u128::from(random(&mut state)) * u128::from(rest)) >> 64) as usize;
        places.swap(place, other);
    }
    places.truncate(count);
    places.sort_unstable();
    places
}

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators").
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_of_its_size_without_repeats_and_as_its_seed_says() {
        let sample = choose(1000, 50, 7);
        assert_eq!(sample.len(), 50);
        assert!(sample.windows(2).all(|two| two[0] < two[1]) && sample[49] < 1000);
        assert_eq!(sample, choose(1000, 50, 7));
        assert_ne!(sample, choose(1000, 50, 8));
        assert_eq!(choose(3, 50, 1), [0, 1, 2]);
        assert!(choose(0, 5, 1).is_empty());
    }

    #[test]
    fn every_place_is_chosen_about_as_often() {
        let mut counts = [0; 10];
        (0..5000).for_each(|seed| choose(10, 2, seed).into_iter().for_each(|place| counts[place] += 1));
        assert!(counts.iter().all(|count| (900..1100).contains(count)), "{counts:?}");
    }

    #[test]
    fn two_runs_have_two_seeds() {
        assert_ne!(seed(), seed());
    }
}
