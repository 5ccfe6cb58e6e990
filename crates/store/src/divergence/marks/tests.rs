//! The rings: bounded, by kind, one mark for an index.

use super::{EFFECTS_MAX, Kind, Mark, Marks, VERIFIED_MAX};

fn mark(kind: Kind, index: u64, hash: u64) -> Mark {
    Mark { kind, index, hash }
}

#[test]
fn an_index_has_one_mark_of_a_kind() {
    let marks = Marks::default();
    marks.note(mark(Kind::Effect, 256, 1));
    marks.note(mark(Kind::Content, 256, 2));
    marks.note(mark(Kind::Effect, 256, 3));
    assert_eq!(marks.all(), [mark(Kind::Effect, 256, 3), mark(Kind::Content, 256, 2)]);
    assert_eq!(marks.last(Kind::Effect), Some(mark(Kind::Effect, 256, 3)));
    assert_eq!(marks.last(Kind::Check), None);
    marks.clear();
    assert_eq!(marks.all(), []);
}

#[test]
fn the_oldest_mark_of_a_kind_goes_first() {
    let marks = Marks::default();
    let most = EFFECTS_MAX as u64;
    (0..most + 5).for_each(|index| marks.note(mark(Kind::Effect, index, index)));
    (0..20).for_each(|index| marks.note(mark(Kind::Content, index, index)));
    let kept = |kind| marks.all().into_iter().filter(move |mark| mark.kind == kind);
    assert_eq!(
        kept(Kind::Effect).map(|mark| mark.index).collect::<Vec<_>>(),
        (5..most + 5).collect::<Vec<_>>()
    );
    assert_eq!(kept(Kind::Content).count(), VERIFIED_MAX);
}

#[test]
fn what_was_found_of_a_database_that_is_gone_is_not_noted() {
    let marks = Marks::default();
    let epoch = marks.epoch();
    marks.note_since(epoch, mark(Kind::Content, 7, 1));
    marks.clear();
    marks.note_since(epoch, mark(Kind::Content, 8, 2));
    assert_eq!(marks.all(), []);
}
