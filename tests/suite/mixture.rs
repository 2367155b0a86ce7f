//! A short run of the mixture that `bench/endurance` runs for as long as one likes.

use std::time::Duration;

use conformance::{Mixture, Suite, require};

#[test]
fn nothing_acknowledged_is_lost_whatever_happens() {
    require!(matches!(Suite::under_test(), Suite::Postern), "the parameters are Postern's own");
    let time = Duration::from_secs(2);
    let account = Mixture { time, reload: Duration::from_millis(700), seed: 1 }.run();
    assert_eq!(account.faults(), Vec::<String>::new());
    assert!(account.safe > 0, "{account:?}");
}
