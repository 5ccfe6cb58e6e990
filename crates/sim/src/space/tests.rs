//! The allowance: what is beyond it is refused, and told.

use super::{Allowance, BYTES_MAX};

#[tokio::test]
async fn what_is_left_is_told() {
    let allowance = Allowance::default();
    assert!(allowance.spend(BYTES_MAX));
    assert!(!allowance.spend(1));
    assert_eq!(allowance.gone().await, format!("more than {BYTES_MAX} bytes written"));
}
