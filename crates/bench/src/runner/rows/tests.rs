//! Tests of the table of rows.

use super::*;

#[test]
fn every_row_of_the_design_has_its_own_title() {
    let mut titles: Vec<String> = ROWS.iter().map(Row::title).collect();
    titles.sort();
    titles.dedup();
    assert_eq!(titles.len(), ROWS.len());
}

#[test]
fn nodes_are_measured_one_after_the_other() {
    let first_of_three = ROWS.iter().position(|row| row.site != Site::Lone).unwrap();
    assert!(ROWS[first_of_three..].iter().all(|row| row.site != Site::Lone));
    assert_eq!(ROWS.iter().filter(|row| row.is_counted()).count(), 4);
}
