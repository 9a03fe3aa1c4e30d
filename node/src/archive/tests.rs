//! Trees there and back again, and archives that are not whole.

mod hostile;

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use tar::{Builder, Header};

use super::*;
use hostile::with;

fn dir() -> (tempfile::TempDir, File) {
    let dir = tempfile::tempdir().unwrap();
    let file = File::open(dir.path()).unwrap();
    (dir, file)
}

/// What this process does not let others do with what it makes.
fn umask() -> u32 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:")).unwrap();
    u32::from_str_radix(line.trim(), 8).unwrap()
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
        assert_eq!(
            fs::metadata(at.join("a")).unwrap().permissions().mode() & 0o777,
            0o750 & !umask()
        );
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
    // With all that it has, and without its end: others may be missing, too.
    let whole = 512 + 9000_usize.next_multiple_of(512);
    for cut in [0, 100, 512, 3000, whole] {
        let error = unpack(&root, ".", Naming::Kept, &long[..cut]).unwrap_err();
        assert!(matches!(error, ArchiveError::Damaged(_)), "{cut}: {error}");
    }
    assert_eq!(fs::read(home.path().join("new")).unwrap(), [7; 9000]);
    let error = unpack(&root, "no", Naming::Copied, &long[..3000]).unwrap_err();
    assert!(matches!(error, ArchiveError::Damaged(_)), "{error}");
    let error = unpack(&root, ".", Naming::Kept, &b"no archive".repeat(60)[..]).unwrap_err();
    assert!(matches!(error, ArchiveError::Damaged(_)), "{error}");
    let left: Vec<_> = fs::read_dir(home.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "no half of a file: {left:?}");
}

#[test]
fn a_file_is_nobody_s_to_write_whom_the_umask_forbids() {
    let (home, root) = dir();
    let mut header = Header::new_gnu();
    header.set_size(1);
    header.set_mode(0o777);
    let mut builder = Builder::new(Vec::new());
    builder.append_data(&mut header, "all", &b"x"[..]).unwrap();
    let bytes = builder.into_inner().unwrap();
    unpack(&root, "", Naming::Kept, &bytes[..]).unwrap();
    let mode = fs::metadata(home.path().join("all")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o777 & !umask());
}
