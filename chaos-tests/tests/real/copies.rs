//! Files out of and into tasks, on whichever node; and what is not let through.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use rustix::process::geteuid;
use swarm_chaos::real::{Cluster, Disk, Swarm, spec, wait_until};
use swarm_model::task::Task;
use swarm_node::api::types::Written;
use tokio::io::AsyncWriteExt as _;

use crate::support::{SOON, fails, skip};

/// More than all that is on its way between the two ends.
const MUCH: usize = 24 << 20;

/// Two managers with a task each; the working directory of each task.
async fn running() -> Result<(Cluster, PathBuf, Vec<PathBuf>)> {
    let cluster = Cluster::start(2, 0).await?;
    let web = spec::service("web", 2, &spec::STAYS)?;
    cluster.client(0).post::<Written>("/v1/services/create", &web).await?;
    cluster.converged(0, "web", SOON).await?;
    let mut homes = Vec::new();
    for slot in 1..=2 {
        let task: Task = cluster.client(0).get(&format!("/v1/tasks/web.{slot}")).await?;
        let number = cluster.number_of(task.node.context("it runs")?).await?;
        homes.push(cluster.nodes()[number].dir.join(format!("tasks/{}/work", task.id)));
    }
    let asked = cluster.nodes()[0].dir.clone();
    Ok((cluster, asked, homes))
}

fn cp(asked: &Path, from: impl AsRef<Path>, to: impl AsRef<Path>) -> Swarm {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let (from, to) = (text(from.as_ref()), text(to.as_ref()));
    Swarm::at(asked, &["cp", &from, &to])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_is_copied_into_a_task_and_back_wherever_that_is() -> Result<()> {
    let (cluster, asked, homes) = running().await?;
    let here = cluster.scratch().join("here");
    fs::create_dir_all(here.join("tree/inner"))?;
    fs::write(here.join("tree/inner/much"), b"swarm of bees ".repeat(500_000))?;
    fs::write(here.join("tree/one"), "1")?;
    symlink("inner/much", here.join("tree/link"))?;
    for (slot, home) in homes.iter().enumerate() {
        let name = format!("web.{}", slot + 1);
        cp(&asked, here.join("tree"), format!("{name}:/new")).run().await?.ok()?;
        assert_eq!(fs::read(home.join("new/link"))?.len(), 7_000_000);
        let back = here.join(format!("back-{slot}"));
        cp(&asked, format!("{name}:new/."), &back).run().await?.ok()?;
        assert_eq!(fs::read(back.join("inner/much"))?, fs::read(here.join("tree/inner/much"))?);
        assert_eq!(fs::read_link(back.join("link"))?, Path::new("inner/much"));
        // An archive, out of one and into another.
        let archive = cp(&asked, format!("{name}:new/one"), "-").run().await?.ok()?;
        cp(&asked, "-", format!("{name}:new/inner")).run_with(archive.as_bytes()).await?.ok()?;
        assert_eq!(fs::read_to_string(home.join("new/inner/one"))?, "1");
    }
    // One that was cut off, by whatever made it.
    let archive = cp(&asked, "web.1:new/one", "-").run().await?.ok()?;
    for cut in [0, 600, 1024] {
        let said = cp(&asked, "-", "web.2:/").run_with(&archive.as_bytes()[..cut]).await?;
        fails(&said, 1, "the archive cannot be read")?;
    }
    // A link is called as the person named it, whatever it leads to.
    symlink("tree", here.join("current"))?;
    cp(&asked, here.join("current"), "web.1:").run().await?.ok()?;
    assert_eq!(fs::read_to_string(homes[0].join("current/one"))?, "1");
    let missing = cp(&asked, "web.1:/etc/passwd", &here).run().await?;
    fails(&missing, 1, "no such file")?;
    let neither = cp(&asked, &here, "there").run().await?;
    fails(&neither, 2, "TASK:PATH")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_leaves_the_working_directory_is_refused_by_name() -> Result<()> {
    let (cluster, asked, homes) = running().await?;
    let here = cluster.scratch().join("here");
    fs::create_dir_all(here.join("tree"))?;
    fs::write(here.join("tree/a"), "a")?;
    symlink("/etc/passwd", here.join("tree/b"))?;
    fs::write(here.join("tree/c"), "c")?;
    for (slot, home) in homes.iter().enumerate() {
        let name = format!("web.{}", slot + 1);
        let said = cp(&asked, here.join("tree"), format!("{name}:")).run().await?;
        fails(&said, 1, "tree/b is refused: it is a link to /etc/passwd, an absolute path")?;
        ensure!(home.join("tree/a").exists() && !home.join("tree/c").exists());
        // A link out of it leads nowhere, in either direction.
        symlink("/etc", home.join("out"))?;
        let said = cp(&asked, format!("{name}:out/passwd"), here.join("stolen")).run().await?;
        fails(&said, 1, "leads out of the directory")?;
        let said = cp(&asked, here.join("tree/a"), format!("{name}:out/swarm-test")).run().await?;
        fails(&said, 1, "leads out of the directory")?;
        let said = cp(&asked, format!("{name}:../launch"), here.join("stolen")).run().await?;
        fails(&said, 1, "leads out of the directory")?;
        ensure!(!here.join("stolen").exists() && !Path::new("/etc/swarm-test").exists());
        // Nor does an archive of a task lead out of where a person wants it.
        symlink("/etc/passwd", home.join("tree/b"))?;
        let said = cp(&asked, format!("{name}:tree"), here.join("taken")).run().await?;
        fails(&said, 1, "tree/b is refused")?;
        fs::remove_dir_all(here.join("taken"))?;
    }
    Ok(())
}

/// The names in a directory.
fn names(dir: &Path) -> Result<Vec<String>> {
    let all = fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut all: Vec<_> = all.collect::<Result<_>>()?;
    all.sort();
    Ok(all)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_killed_leaves_whole_files_and_nothing_else() -> Result<()> {
    let (cluster, asked, homes) = running().await?;
    let here = cluster.scratch().join("here");
    fs::create_dir_all(here.join("tree"))?;
    fs::write(here.join("tree/a"), "new")?;
    fs::write(here.join("tree/b"), vec![b'n'; MUCH])?;
    cp(&asked, here.join("tree"), "web.1:tree").run().await?.ok()?;
    let archive = cp(&asked, "web.1:tree/.", "-").run().await?.ok()?;
    assert!(archive.len() > MUCH, "{} bytes came", archive.len());
    for (slot, home) in homes.iter().enumerate() {
        let inside = home.join("inside");
        fs::create_dir(&inside)?;
        fs::write(inside.join("a"), "old")?;
        fs::write(inside.join("b"), "old")?;
        let mut copy = cp(&asked, "-", format!("web.{}:inside", slot + 1)).start()?;
        let stdin = copy.stdin.as_mut().context("it has a pipe")?;
        stdin.write_all(&archive.as_bytes()[..MUCH / 2]).await?;
        wait_until("the first file is there", SOON, async || {
            (fs::read_to_string(inside.join("a")).ok()? == "new").then_some(())
        })
        .await?;
        copy.kill().await?;
        wait_until("nothing of it is left", SOON, async || {
            (names(&inside).ok()? == ["a", "b"]).then_some(())
        })
        .await?;
        assert_eq!(fs::read_to_string(inside.join("b"))?, "old");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_said_and_the_old_file_stays() -> Result<()> {
    if !geteuid().is_root() {
        return skip("needs root");
    }
    let (cluster, asked, homes) = running().await?;
    let here = cluster.scratch().join("here");
    fs::create_dir_all(&here)?;
    fs::write(here.join("much"), vec![b'n'; MUCH])?;
    for (slot, home) in homes.iter().enumerate() {
        let small = Disk::small(&home.join("small"), 4)?;
        fs::write(small.at().join("much"), "old")?;
        let to = format!("web.{}:small", slot + 1);
        let said = cp(&asked, here.join("much"), &to).run().await?;
        fails(&said, 1, "cannot write much: No space left on device")?;
        assert_eq!(names(small.at())?, ["much"]);
        assert_eq!(fs::read_to_string(small.at().join("much"))?, "old");
        // The same on the way here.
        let from = format!("web.{}:much", slot + 1);
        fs::write(home.join("much"), vec![b'n'; MUCH])?;
        let said = cp(&asked, &from, small.at()).run().await?;
        fails(&said, 1, "cannot write much: No space left on device")?;
        assert_eq!(fs::read_to_string(small.at().join("much"))?, "old");
    }
    Ok(())
}
