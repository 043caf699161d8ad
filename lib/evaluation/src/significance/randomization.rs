//! Fisher's randomization test.

use rand::{RngCore, SeedableRng};
use rand_pcg::Pcg64;

use super::Settings;

/// How much smaller than the difference seen a difference may be and count as as large, relatively: the same summands
/// in another order do not add up to the same bits. scipy allows this much, too.
const ROUNDING: f64 = 1e-14;

/// Two-sided p for the mean of `differences` (Smucker, Allan and Carterette 2007): how probable a mean at least as far
/// from 0 is, if which run has which value of a pair were chance. An exchange within a pair changes the sign of its
/// difference. All exchanges are tried where there are no more than `permutations`, otherwise that many random ones.
///
/// ranx divides the number of exchanges that go as far by the number of all. Here as in scipy, the pairs as they are
/// count as one more of each, where exchanges are random, because p is never 0 (Phipson and Smyth 2010).
pub(super) fn fisher(differences: &[f64], settings: Settings) -> f64 {
    // Pairs without a difference change no sum.
    let differences: Vec<f64> = differences.iter().copied().filter(|&difference| difference != 0.0).collect();
    let seen = differences.iter().sum::<f64>().abs() * (1.0 - ROUNDING);
    let goes_as_far = |signs: &mut dyn FnMut() -> u64| {
        let words = differences.chunks(64).map(|pairs| sum_with_signs(pairs, signs()));
        words.sum::<f64>().abs() >= seen
    };
    let all = 1u64.checked_shl(differences.len() as u32).filter(|&all| all <= u64::from(settings.permutations));
    match all {
        Some(all) => (0..all).filter(|&signs| goes_as_far(&mut || signs)).count() as f64 / all as f64,
        None => {
            let mut random = Pcg64::seed_from_u64(settings.seed);
            let count = (0..settings.permutations).filter(|_| goes_as_far(&mut || random.next_u64())).count();
            (count + 1) as f64 / f64::from(settings.permutations + 1)
        }
    }
}

/// The sum of up to 64 numbers, with another sign where `signs` has a bit.
fn sum_with_signs(numbers: &[f64], signs: u64) -> f64 {
    let signed = numbers.iter().enumerate().map(|(place, number)| {
        let bit = signs >> place & 1;
        f64::from_bits(number.to_bits() ^ bit << 63)
    });
    signed.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn p(differences: &[f64], permutations: u32) -> f64 {
        fisher(differences, Settings { permutations, ..Settings::default() })
    }

    #[test]
    fn few_pairs_are_exchanged_in_every_way() {
        // Of 4 and of 8 ways, two go as far: none exchanged, and all.
        assert_eq!(p(&[0.1, 0.2], 1000), 0.5);
        assert_eq!(p(&[0.1, 0.2, 0.0, 0.4], 1000), 0.25);
        assert_eq!(p(&[0.1, 0.2, -0.3], 1000), 1.0);
        assert_eq!(p(&[0.0, 0.0], 1000), 1.0);
    }

    #[test]
    fn random_exchanges_come_near_to_all() {
        let differences: Vec<f64> = (0..12).map(|i| f64::from(i * 5 % 12) / 10.0 - 0.45).collect();
        let (exact, random) = (p(&differences, 4096), p(&differences, 4095));
        assert!(exact != random && (exact - random).abs() < 0.03, "{exact} and {random}");
        assert_eq!(random, p(&differences, 4095));
    }

    #[test]
    fn p_is_never_zero() {
        assert_eq!(p(&[1.0; 100], 999), 0.001);
    }
}
