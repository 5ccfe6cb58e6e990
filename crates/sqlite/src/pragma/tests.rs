//! The allow-list, word by word.

use super::{Form, Verdict, judge};

#[test]
fn introspection_and_content_run_in_both_forms() {
    for form in [Form::Statement, Form::Table] {
        for name in ["table_info", "INDEX_LIST", "foreign_key_check"] {
            assert_eq!(judge(name, Some("x"), form, false), Verdict::Allow, "{name}");
        }
        assert_eq!(judge("user_version", None, form, false), Verdict::Allow);
    }
}

#[test]
fn the_spec_disallows_assignments_only() {
    for name in ["journal_mode", "synchronous", "query_only", "wal_autocheckpoint"] {
        assert_eq!(judge(name, None, Form::Statement, false), Verdict::Allow);
        assert_eq!(
            judge(name, Some("0"), Form::Statement, false),
            Verdict::Refuse("disallowed pragma")
        );
    }
    let checkpoint = judge("wal_checkpoint", None, Form::Statement, false);
    assert_eq!(checkpoint, Verdict::Refuse("disallowed pragma"));
}

#[test]
fn foreign_keys_may_only_be_set_to_what_they_are() {
    assert_eq!(
        judge("foreign_keys", Some("ON"), Form::Statement, true),
        Verdict::Ignore
    );
    assert_eq!(
        judge("foreign_keys", Some("0"), Form::Statement, false),
        Verdict::Ignore
    );
    assert!(matches!(
        judge("foreign_keys", Some("1"), Form::Statement, false),
        Verdict::Refuse(_)
    ));
    assert!(matches!(
        judge("foreign_keys", Some("off"), Form::Statement, true),
        Verdict::Refuse(_)
    ));
}

#[test]
fn what_differs_between_nodes_is_not_stored() {
    for name in ["page_count", "database_list", "schema_version", "cache_size"] {
        assert_eq!(judge(name, None, Form::Statement, false), Verdict::Allow, "{name}");
        assert!(
            matches!(judge(name, None, Form::Table, false), Verdict::Refuse(_)),
            "{name}"
        );
    }
}

#[test]
fn the_unknown_is_refused() {
    for name in [
        "writable_schema",
        "case_sensitive_like",
        "recursive_triggers",
        "analysis_limit",
        "nonesuch",
    ] {
        assert!(
            matches!(judge(name, Some("1"), Form::Statement, false), Verdict::Refuse(_)),
            "{name}"
        );
    }
}
