//! Trees there and back again, and what is not let through.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use proptest::prelude::*;
use tar::{Builder, EntryType, Header};

use super::*;

fn dir() -> (tempfile::TempDir, File) {
    let dir = tempfile::tempdir().unwrap();
    let file = File::open(dir.path()).unwrap();
    (dir, file)
}

/// A file, a directory, a link and a name too long for a plain header.
fn plant(home: &Path) {
    fs::create_dir_all(home.join("tree/inner")).unwrap();
    fs::write(home.join("tree/a"), "one").unwrap();
    fs::set_permissions(home.join("tree/a"), fs::Permissions::from_mode(0o750)).unwrap();
    fs::write(home.join("tree/inner").join("n".repeat(200)), vec![7; 100_000]).unwrap();
    symlink("../a", home.join("tree/inner/link")).unwrap();
}

/// Packs `from` and unpacks it at `to`; gives the second directory.
fn copied(from: &str, to: &str) -> Result<tempfile::TempDir, ArchiveError> {
    let (source, root) = dir();
    plant(source.path());
    let mut bytes = Vec::new();
    assert!(pack(&root, from, &mut bytes)?.is_empty());
    let (target, root) = dir();
    fs::create_dir(target.path().join("there")).unwrap();
    fs::write(target.path().join("file"), "old").unwrap();
    unpack(&root, to, Naming::Copied, &bytes[..])?;
    Ok(target)
}

#[test]
fn a_tree_comes_out_as_it_went_in_under_the_name_that_cp_gives_it() {
    for (from, to, at) in [
        ("tree", "there", "there/tree"),
        ("/tree", "/new", "new"),
        ("tree/.", "there", "there"),
        ("tree/.", "new", "new"),
        (".", "new", "new/tree"),
        ("tree", ".", "tree"),
    ] {
        let target = copied(from, to).unwrap();
        let at = target.path().join(at);
        assert_eq!(fs::read_to_string(at.join("a")).unwrap(), "one", "{from} {to}");
        assert_eq!(fs::metadata(at.join("a")).unwrap().permissions().mode() & 0o777, 0o750);
        assert_eq!(fs::read(at.join("inner").join("n".repeat(200))).unwrap().len(), 100_000);
        assert_eq!(fs::read_to_string(at.join("inner/link")).unwrap(), "one");
        assert_eq!(fs::read_link(at.join("inner/link")).unwrap(), Path::new("../a"));
    }
    for (to, at) in [("there", "there/a"), ("file", "file"), ("new", "new")] {
        let target = copied("tree/a", to).unwrap();
        assert_eq!(fs::read_to_string(target.path().join(at)).unwrap(), "one", "{to}");
    }
    let refused = |from, to, word: &str| {
        let error = copied(from, to).unwrap_err().to_string();
        assert!(error.contains(word), "{from} {to}: {error}");
    };
    refused("nothing", "there", "nothing: no such file");
    refused("../tree", "there", "leads out");
    refused("tree", "no/where", "no such file");
    refused("tree", "new/", "no such file");
    refused("tree", "../new", "leads out");
}

#[test]
fn links_lead_nowhere_outside_of_the_directory() {
    let (outside, _root) = dir();
    fs::write(outside.path().join("secret"), "s").unwrap();
    let (home, root) = dir();
    symlink(outside.path(), home.path().join("out")).unwrap();
    symlink("..", home.path().join("up")).unwrap();
    for path in ["out/secret", "out", "up/x", "up"] {
        let error = pack(&root, path, Vec::new()).unwrap_err();
        assert!(matches!(error, ArchiveError::Outside { .. }), "{path}: {error}");
    }
    let mut bytes = Vec::new();
    fs::write(home.path().join("x"), "new").unwrap();
    pack(&root, "x", &mut bytes).unwrap();
    for path in ["out", "out/secret", "up"] {
        let error = unpack(&root, path, Naming::Copied, &bytes[..]).unwrap_err();
        assert!(matches!(error, ArchiveError::Outside { .. }), "{path}: {error}");
    }
    assert_eq!(fs::read_to_string(outside.path().join("secret")).unwrap(), "s");
}

/// An archive of one harmless file, one entry made by `bad`, and one more harmless file.
fn with(bad: impl Fn(&mut Builder<Vec<u8>>)) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    let file = |builder: &mut Builder<Vec<u8>>, name: &str| {
        let mut header = Header::new_gnu();
        header.set_size(1);
        header.set_mode(0o6755);
        builder.append_data(&mut header, name, &b"x"[..]).unwrap();
    };
    file(&mut builder, "before");
    bad(&mut builder);
    file(&mut builder, "after");
    builder.into_inner().unwrap()
}

/// An entry with a name and a link name that no careful writer makes.
fn raw(builder: &mut Builder<Vec<u8>>, kind: EntryType, name: &str, link: &str) {
    let mut header = Header::new_gnu();
    let gnu = header.as_gnu_mut().unwrap();
    gnu.name[..name.len()].copy_from_slice(name.as_bytes());
    gnu.linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(0);
    header.set_cksum();
    builder.append(&header, &b""[..]).unwrap();
}

#[test]
fn a_bad_entry_is_refused_by_name_and_nothing_after_it_is_written() {
    for (kind, name, link, word) in [
        (EntryType::Regular, "../evil", "", "\"..\""),
        (EntryType::Regular, "a/../../evil", "", "\"..\""),
        (EntryType::Regular, "/evil", "", "absolute"),
        (EntryType::Symlink, "evil", "/etc/passwd", "/etc/passwd, an absolute path"),
        (EntryType::Symlink, "evil", "../x", "outside"),
        (EntryType::Symlink, "d/evil", "../../x", "outside"),
        (EntryType::Link, "evil", "/etc/passwd", "absolute"),
        (EntryType::Link, "evil", "../x", "\"..\""),
        (EntryType::Char, "evil", "", "a device"),
        (EntryType::Block, "evil", "", "a device"),
        (EntryType::Fifo, "evil", "", "a named pipe"),
    ] {
        let (home, root) = dir();
        let inner = home.path().join("inner");
        fs::create_dir(&inner).unwrap();
        let bytes = with(|builder| raw(builder, kind, name, link));
        let error = unpack(&root, "inner", Naming::Kept, &bytes[..]).unwrap_err().to_string();
        assert!(error.contains("evil") || error.contains("../x"), "{error}");
        assert!(error.contains(word), "{name}: {error}");
        let left: Vec<_> =
            fs::read_dir(&inner).unwrap().map(|it| it.unwrap().file_name()).collect();
        assert_eq!(left, ["before"], "{name}");
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
        let mode = fs::metadata(inner.join("before")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o755, "no more than permissions are taken over");
    }
}

#[test]
fn an_archive_cannot_write_through_a_link_that_it_brings() {
    let (home, root) = dir();
    let (outside, _root) = dir();
    fs::create_dir(home.path().join("inner")).unwrap();
    symlink(outside.path(), home.path().join("inner/planted")).unwrap();
    let bytes = with(|builder| raw(builder, EntryType::Regular, "planted/evil", ""));
    let error = unpack(&root, "inner", Naming::Kept, &bytes[..]).unwrap_err();
    assert!(matches!(error, ArchiveError::Outside { .. }), "{error}");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    // What has the name of a link is replaced, not followed.
    let bytes = with(|builder| raw(builder, EntryType::Regular, "planted", ""));
    unpack(&root, "inner", Naming::Kept, &bytes[..]).unwrap();
    assert!(home.path().join("inner/planted").symlink_metadata().unwrap().is_file());
}

#[test]
fn several_things_have_no_one_name_and_a_cut_archive_is_no_archive() {
    let (home, root) = dir();
    let bytes = with(|_nothing| ());
    let error = unpack(&root, "new", Naming::Copied, &bytes[..]).unwrap_err().to_string();
    assert!(error.contains("after is refused"), "{error}");
    assert_eq!(fs::read_to_string(home.path().join("new")).unwrap(), "x");
    let mut header = Header::new_gnu();
    header.set_size(9000);
    let mut builder = Builder::new(Vec::new());
    builder.append_data(&mut header, "new", &[7; 9000][..]).unwrap();
    let long = builder.into_inner().unwrap();
    for cut in [100, 512, 3000] {
        let error = unpack(&root, ".", Naming::Kept, &long[..cut]).unwrap_err();
        assert!(matches!(error, ArchiveError::Damaged(_)), "{cut}: {error}");
    }
    assert_eq!(fs::read_to_string(home.path().join("new")).unwrap(), "x");
    let error = unpack(&root, "no", Naming::Copied, &long[..3000]).unwrap_err();
    assert!(matches!(error, ArchiveError::Damaged(_)), "{error}");
    let error = unpack(&root, ".", Naming::Kept, &b"no archive".repeat(60)[..]).unwrap_err();
    assert!(matches!(error, ArchiveError::Damaged(_)), "{error}");
    let left: Vec<_> = fs::read_dir(home.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "no half of a file: {left:?}");
}

proptest! {
    #[test]
    fn nothing_outside_is_touched_whatever_the_bytes_say(
        names in prop::collection::vec("(/|\\.\\./|a/|b|\\.|c){1,4}", 1..6),
        kinds in prop::collection::vec(0usize..6, 6),
        links in prop::collection::vec("(/|\\.\\./|a/|b|\\.|c){0,4}", 6),
    ) {
        let all = [EntryType::Regular, EntryType::Directory, EntryType::Symlink, EntryType::Link,
            EntryType::Fifo, EntryType::Char];
        let mut builder = Builder::new(Vec::new());
        for (at, name) in names.iter().enumerate() {
            raw(&mut builder, all[kinds[at]], name, &links[at]);
        }
        let bytes = builder.into_inner().unwrap();
        let (home, root) = dir();
        fs::create_dir(home.path().join("inner")).unwrap();
        let inner = File::open(home.path().join("inner")).unwrap();
        drop(unpack(&inner, "", Naming::Kept, &bytes[..]));
        drop(root);
        let left: Vec<_> = fs::read_dir(home.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
        prop_assert_eq!(left, ["inner"]);
    }
}
