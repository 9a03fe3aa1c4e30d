//! Archives that want more than their directory: out of it by links, over what is there, or all memory.

use std::collections::BTreeSet;

use proptest::prelude::*;
use rustix::fs::OFlags;
use rustix::io::Errno;
use tar::EntryType;

use super::*;

/// An archive of one harmless file, one entry made by `bad`, and one more harmless file.
pub(super) fn with(bad: impl Fn(&mut Builder<Vec<u8>>)) -> Vec<u8> {
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
    if kind.is_gnu_sparse() {
        gnu.set_real_size(0);
    }
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(0);
    header.set_cksum();
    builder.append(&header, &b""[..]).unwrap();
}

/// An archive of such entries, without contents.
fn of(entries: &[(EntryType, &str, &str)]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (kind, name, link) in entries {
        raw(&mut builder, *kind, name, link);
    }
    builder.into_inner().unwrap()
}

/// The links below `at` that lead out of `root`, and those that nobody can tell.
fn leaks(root: &File, home: &Path, at: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(home.join(at)).unwrap() {
        let inside = at.join(entry.unwrap().file_name());
        let kind = home.join(&inside).symlink_metadata().unwrap();
        if kind.is_dir() {
            found.extend(leaks(root, home, &inside));
        } else if kind.is_symlink() {
            let opened = place::open(root, &inside, OFlags::PATH);
            // Who made it leads nowhere, or in a circle, leads out of nothing.
            if !matches!(opened, Ok(_) | Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR)) {
                found.push(format!("{}: {opened:?}", inside.display()));
            }
        }
    }
    found
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
        (EntryType::GNUSparse, "evil", "", "not known"),
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
        assert_eq!(mode & 0o7777, 0o755 & !umask(), "no more than permissions are taken over");
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
fn a_link_that_leads_out_by_way_of_another_is_refused() {
    let (file, symlink) = (EntryType::Regular, EntryType::Symlink);
    let up = (symlink, "up", ".");
    let by_name = (symlink, "l", "up/up/../../x");
    let upwards = (symlink, "d/e", "../x");
    for (entries, word) in [
        (vec![up, by_name], "behind a name"),
        // So it is before anybody can say where it leads.
        (vec![by_name, up], "behind a name"),
        (vec![(symlink, "d", "."), upwards], "outside"),
        (vec![upwards, (EntryType::Link, "h", "d/e")], "no file"),
    ] {
        let (home, root) = dir();
        fs::write(home.path().join("x"), "outside").unwrap();
        fs::create_dir(home.path().join("inner")).unwrap();
        let mut all = entries.clone();
        all.push((file, "after", ""));
        let error = unpack(&root, "inner", Naming::Kept, &of(&all)[..]).unwrap_err().to_string();
        assert!(error.contains(word), "{entries:?}: {error}");
        let inner = File::open(home.path().join("inner")).unwrap();
        let leaks = leaks(&inner, &home.path().join("inner"), Path::new(""));
        assert!(leaks.is_empty(), "{entries:?}: {leaks:?}");
        assert!(!home.path().join("inner/after").exists());
    }
}

#[test]
fn a_link_that_cannot_be_made_leaves_what_has_its_name() {
    let (symlink, link) = (EntryType::Symlink, EntryType::Link);
    let names = |home: &Path| -> BTreeSet<_> {
        fs::read_dir(home).unwrap().map(|it| it.unwrap().file_name()).collect()
    };
    for (entry, went) in [
        ((link, "keep", "keep"), true),
        ((link, "keep", "missing"), false),
        ((link, "keep", "missing/dir/x"), false),
        ((link, "dir", "keep"), false),
        ((symlink, "dir", "keep"), false),
    ] {
        let (home, root) = dir();
        fs::write(home.path().join("keep"), "old").unwrap();
        fs::create_dir(home.path().join("dir")).unwrap();
        let before = names(home.path());
        let done = unpack(&root, "", Naming::Kept, &of(&[entry])[..]);
        assert_eq!(done.is_ok(), went, "{entry:?}: {done:?}");
        assert_eq!(names(home.path()), before, "{entry:?}: {done:?}");
        assert_eq!(fs::read_to_string(home.path().join("keep")).unwrap(), "old", "{entry:?}");
    }
    // One that can be made replaces it.
    let (home, root) = dir();
    fs::write(home.path().join("keep"), "old").unwrap();
    fs::write(home.path().join("other"), "new").unwrap();
    unpack(&root, "", Naming::Kept, &of(&[(link, "keep", "other")])[..]).unwrap();
    assert_eq!(fs::read_to_string(home.path().join("keep")).unwrap(), "new");
    unpack(&root, "", Naming::Kept, &of(&[(symlink, "keep", "nowhere")])[..]).unwrap();
    assert_eq!(fs::read_link(home.path().join("keep")).unwrap(), Path::new("nowhere"));
    assert_eq!(names(home.path()).len(), 2);
}

#[test]
fn names_without_an_end_are_not_kept_in_memory() {
    let (home, root) = dir();
    for kind in [EntryType::GNULongName, EntryType::GNULongLink, EntryType::XHeader] {
        let mut builder = Builder::new(Vec::new());
        let long = vec![b'n'; 2 << 20];
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(long.len() as u64);
        header.set_cksum();
        builder.append(&header, &long[..]).unwrap();
        raw(&mut builder, EntryType::Regular, "a", "");
        let bytes = builder.into_inner().unwrap();
        let error = unpack(&root, "", Naming::Kept, &bytes[..]).unwrap_err().to_string();
        assert!(error.contains("more than 1 MiB"), "{kind:?}: {error}");
    }
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
}

#[test]
fn what_an_entry_is_called_does_not_reach_the_terminal_as_it_is() {
    let (_home, root) = dir();
    let bytes = of(&[(EntryType::Fifo, "a\u{1b}[2J\nerror: b", "")]);
    let error = unpack(&root, "", Naming::Kept, &bytes[..]).unwrap_err().to_string();
    assert!(error.contains("a?[2J?error: b is refused"), "{error}");
}

/// Names and targets, most of them harmless.
fn paths(harmless: &'static str) -> impl Strategy<Value = String> {
    prop_oneof![6 => harmless, 1 => "(/|\\.\\./|a/|b|\\.|c){1,4}"]
}

proptest! {
    #[test]
    fn nothing_leads_out_nor_is_touched_there_whatever_the_bytes_say(
        names in prop::collection::vec(paths("[abc](/[abc]){0,2}"), 1..12),
        kinds in prop::collection::vec(0usize..5, 12),
        links in prop::collection::vec(paths("(\\.\\./){0,2}[abc.](/([abc.]|\\.\\.)){0,3}"), 12),
    ) {
        let all = [EntryType::Regular, EntryType::Directory, EntryType::Symlink, EntryType::Symlink,
            EntryType::Link];
        let mut builder = Builder::new(Vec::new());
        raw(&mut builder, EntryType::Regular, "first", "");
        for (at, name) in names.iter().enumerate() {
            raw(&mut builder, all[kinds[at]], name, &links[at]);
        }
        let bytes = builder.into_inner().unwrap();
        let (home, _root) = dir();
        let at = home.path().join("inner");
        fs::create_dir(&at).unwrap();
        let inner = File::open(&at).unwrap();
        drop(unpack(&inner, "", Naming::Kept, &bytes[..]));
        let left: Vec<_> = fs::read_dir(home.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
        prop_assert_eq!(left, ["inner"]);
        prop_assert!(at.join("first").is_file(), "nothing was written");
        prop_assert_eq!(leaks(&inner, &at, Path::new("")), [""; 0]);
    }
}
