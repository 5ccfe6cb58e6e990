//! Backups at the door, over a make-believe node.

use std::io::Read;

use flate2::read::GzDecoder;
use hyper::Method;
use sqlite::Journal;
use store::backup::Form;

use crate::forwarded::{Backup, BackupForm, Head, Operation};
use crate::http::tests::vault::{self, End};
use crate::http::tests::{Answered, World};

async fn get(world: &World, target: &str) -> Answered {
    world.send(Method::GET, target, &[], "").await
}

#[tokio::test]
async fn each_form_has_its_content_type() {
    let world = World::leading();
    let names = |names: &[&str]| Form::Text(names.iter().map(|name| (*name).to_owned()).collect());
    for (query, form, content_type) in [
        ("", Form::File(Journal::Wal), "application/octet-stream"),
        ("?fmt=binary", Form::File(Journal::Wal), "application/octet-stream"),
        ("?fmt=delete", Form::File(Journal::Rollback), "application/octet-stream"),
        ("?vacuum", Form::Compact, "application/octet-stream"),
        ("?fmt=sql", names(&[]), "application/sql"),
        ("?fmt=sql&tables=a,%20b,", names(&["a", "b"]), "application/sql"),
    ] {
        let answered = get(&world, &format!("/db/backup{query}")).await;
        assert_eq!(answered.status, 200, "{query}");
        assert_eq!(answered.header("content-type"), Some(content_type), "{query}");
        assert_eq!(answered.body, vault::content(&form), "{query}");
    }
    let status = get(&world, "/status?key=last_backup_time").await;
    assert!(status.body.contains("20"), "{}", status.body);
}

#[tokio::test]
async fn a_compressed_backup_is_the_same_in_gzip() {
    let world = World::leading();
    let answered = get(&world, "/db/backup?fmt=delete&compress").await;
    assert_eq!(answered.header("content-type"), Some("application/octet-stream"));
    assert_eq!(answered.header("content-encoding"), None);
    let mut plain = String::new();
    GzDecoder::new(&answered.bytes[..]).read_to_string(&mut plain).unwrap();
    assert_eq!(plain, vault::content(&Form::File(Journal::Rollback)));
}

#[tokio::test]
async fn what_does_not_go_together_is_refused() {
    let world = World::leading();
    for query in ["vacuum&fmt=sql", "vacuum&fmt=delete"] {
        let answered = get(&world, &format!("/db/backup?{query}")).await;
        assert_eq!((answered.status, &*answered.body), (500, "invalid backup format\n"));
    }
}

#[tokio::test]
async fn a_backup_that_cannot_begin_is_an_error_and_one_that_breaks_off_is_cut() {
    let world = World::leading();
    world.vault.end(End::AtOnce);
    let answered = get(&world, "/db/backup").await;
    assert_eq!(answered.status, 500);
    assert_eq!(answered.header("content-type"), Some("text/plain; charset=utf-8"));
    assert!(!world.breaks_off("/status").await);
    world.vault.end(End::Broken);
    assert!(world.breaks_off("/db/backup").await);
}

#[tokio::test]
async fn a_follower_hands_on_what_the_leader_sends() {
    let world = World::following();
    let head = Head {
        status: 200,
        content_type: "application/sql".to_owned(),
        ..Head::default()
    };
    world.others.answer(head, "a dump");
    let answered = get(&world, "/db/backup?fmt=sql&tables=t&compress").await;
    assert_eq!((answered.status, &*answered.body), (200, "a dump"));
    assert_eq!(answered.header("content-type"), Some("application/sql"));
    let expected = Backup {
        form: BackupForm::Text.into(),
        tables: vec!["t".to_owned()],
        compress: true,
    };
    assert_eq!(world.others.forwarded()[0].operation, Some(Operation::Backup(expected)));
    let local = get(&world, "/db/backup?noleader").await;
    assert_eq!(local.body, vault::content(&Form::File(Journal::Wal)));
    let redirected = get(&world, "/db/backup?redirect").await;
    assert_eq!(redirected.status, 301);
    assert_eq!(
        redirected.header("location"),
        Some("http://there:4001/db/backup?redirect")
    );
}

#[tokio::test]
async fn without_a_leader_only_the_node_itself_can_be_copied() {
    let world = World::without_leader();
    let answered = get(&world, "/db/backup").await;
    assert_eq!((answered.status, &*answered.body), (503, "leader not found\n"));
    assert_eq!(get(&world, "/db/backup?noleader").await.status, 200);
    let closed = get(&World::closed(), "/db/backup").await;
    assert_eq!((closed.status, &*closed.body), (500, "store not open\n"));
}
