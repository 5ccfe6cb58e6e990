//! The form of a page.

use super::{Kind, Page};

#[test]
fn a_page_is_families_of_samples() {
    let mut page = Page::default();
    page.one("a_total", Kind::Counter, "How many.", 3);
    page.family("b_seconds", Kind::Histogram, "How long.");
    page.histogram(
        "b_seconds",
        &[("stage", "x\"y\\z\n")],
        &[50, 1_000],
        &[1, 0, 2],
        2_500_000,
    );
    let expected = r#"# HELP a_total How many.
# TYPE a_total counter
a_total 3
# HELP b_seconds How long.
# TYPE b_seconds histogram
b_seconds_bucket{stage="x\"y\\z\n",le="0.00005"} 1
b_seconds_bucket{stage="x\"y\\z\n",le="0.001"} 1
b_seconds_bucket{stage="x\"y\\z\n",le="+Inf"} 3
b_seconds_sum{stage="x\"y\\z\n"} 2.5
b_seconds_count{stage="x\"y\\z\n"} 3
"#;
    assert_eq!(page.into_text(), expected);
}
