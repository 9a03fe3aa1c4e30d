//! The network between the nodes is cut.

use std::time::Duration;

use anyhow::{Result, ensure};
use http::Method;
use swarm_chaos::real::{Cluster, Partition, Stopwatch, can_partition, spec, wait_until};
use swarm_node::api::types::Written;

use crate::support::{Run, SOON, refused, skip};

/// What a node without quorum may take for its refusal (N10), with a busy machine's margin.
const FAILS_WITHIN: Duration = Duration::from_secs(12);

#[tokio::test(flavor = "multi_thread")]
async fn leader_in_a_minority_is_replaced_and_refuses_writes() -> Result<()> {
    if !can_partition() {
        return skip("needs root and nft");
    }
    let mut cluster = Cluster::start(3, 0).await?;
    let web = spec::service("web", 6, &spec::STAYS)?;
    cluster.client(0).post::<Written>("/v1/services/create", &web).await?;
    cluster.converged(0, "web", SOON).await?;
    let run = Run::start(&cluster);
    let leader = cluster.leader().await?;
    let id = cluster.node(leader).info().await?.node_id;
    let lonely = cluster.nodes()[leader].addr;
    let others = [cluster.nodes()[(leader + 1) % 3].addr, cluster.nodes()[(leader + 2) % 3].addr];

    let cut = Partition::between(&[lonely], &others)?;
    let majority = &cluster.nodes()[(leader + 1) % 3];
    wait_until("the majority has another leader", SOON, async || {
        majority.info().await.ok()?.leader.filter(|leader| *leader != id)
    })
    .await?;
    majority.client().post::<Written>("/v1/configs/create", &spec::config("there", b"1")?).await?;
    let watch = Stopwatch::start();
    let mut client = cluster.client(leader);
    let refusal = client.post::<Written>("/v1/configs/create", &spec::config("here", b"1")?).await;
    refused(refusal, "no_quorum", "")?;
    ensure!(watch.elapsed() <= FAILS_WITHIN, "the refusal took {:?}", watch.elapsed());
    let stale = client.send(Method::GET, "/v1/services", Vec::new()).await?;
    ensure!(stale.is_stale(), "a minority's answer does not say that it is stale");
    ensure!(cut.hit()? > 0, "nothing was cut");
    drop(cut);

    run.goes_on(20).await?;
    run.verify(&cluster, &["web"]).await?;
    let mut client = cluster.client(leader);
    client.get::<serde_json::Value>("/v1/configs/there").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_writes_while_every_node_is_alone_and_all_is_well_afterwards() -> Result<()> {
    if !can_partition() {
        return skip("needs root and nft");
    }
    let cluster = Cluster::start(3, 0).await?;
    let run = Run::start(&cluster);
    run.goes_on(20).await?;
    let all: Vec<_> = cluster.nodes().iter().map(|node| node.addr).collect();
    let links = all.iter().flat_map(|a| all.iter().map(move |b| (*a, *b)));
    let cut = Partition::of(links.filter(|(a, b)| a != b))?;
    for number in 0..3 {
        let mut client = cluster.client(number);
        let name = format!("alone-{number}");
        let spec = spec::config(&name, b"1")?;
        let watch = Stopwatch::start();
        // The first may still get through on what was under way.
        let result = client.post::<Written>("/v1/configs/create", &spec).await;
        if number > 0 {
            refused(result, "no_quorum", "")?;
        }
        ensure!(watch.elapsed() <= FAILS_WITHIN, "the refusal took {:?}", watch.elapsed());
    }
    ensure!(cut.hit()? > 0, "nothing was cut");
    drop(cut);
    run.goes_on(20).await?;
    run.verify(&cluster, &[]).await
}
