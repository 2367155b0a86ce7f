//! TLSA records and certificates that somebody has been at: the seeds of the fuzz target `tlsa`, changed at random.
//! `POSTERN_ROUNDS=60000 POSTERN_SEED=7` is more, and other ones.

use std::fs;
use std::path::Path;

use conformance::Dice;

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// A place in something of this length.
fn place(dice: &mut Dice, length: usize) -> usize {
    usize::try_from(dice.below(length as u64 + 1)).expect("small")
}

fn changed(dice: &mut Dice, bytes: &mut Vec<u8>) {
    let at = place(dice, bytes.len());
    match dice.below(6) {
        0 => bytes.truncate(at),
        1 => bytes.insert(at, *dice.one_of(&[0, 1, 2, 3, 0x30, 0x82, 0xff])),
        2 => {
            let end = at + place(dice, bytes.len() - at);
            bytes.drain(at..end);
        }
        3 => bytes.extend_from_within(at..),
        _ => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << dice.below(8);
            }
        }
    }
}

#[test]
fn records_that_somebody_has_been_at() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/tlsa");
    let seeds: Vec<Vec<u8>> = fs::read_dir(folder)
        .expect("the seeds")
        .map(|entry| fs::read(entry.expect("a file").path()).expect("a seed"))
        .collect();
    let mut dice = Dice::new(setting("POSTERN_SEED", 18));
    for _ in 0..setting("POSTERN_ROUNDS", 500) {
        let mut bytes = dice.one_of(&seeds).clone();
        for _ in 0..=dice.below(6) {
            changed(&mut dice, &mut bytes);
        }
        tls::fuzz::tlsa(&bytes);
    }
}
