//! Drives writers as fast as they go for a while, each waiting for its answer before the next write.

use std::future::Future;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::samples::Samples;

/// Bytes of a value.
pub(super) const VALUE: usize = 256;
/// Connections and caches warm up for so long before it counts.
const WARM_UP: Duration = Duration::from_millis(300);

/// One client of some store.
pub(super) trait Writer: Send + 'static {
    /// Writes `value` durably under a key that is new.
    fn write(&mut self, key: String, value: Vec<u8>) -> impl Future<Output = Result<()>> + Send;
}

/// What a load came to.
#[derive(Debug, Default)]
pub(super) struct Load {
    /// Writes a second.
    pub(super) rate: f64,
    /// Latencies of the writes.
    pub(super) latencies: Samples,
}

/// Lets all `writers` write for `time`; keys start with `prefix`. Gives them back for the next round.
pub(super) async fn drive<W: Writer>(
    writers: Vec<W>,
    prefix: &str,
    time: Duration,
) -> Result<(Vec<W>, Load)> {
    let from = Instant::now() + WARM_UP;
    let until = from + time;
    let mut running = JoinSet::new();
    for (number, writer) in writers.into_iter().enumerate() {
        running.spawn(one(writer, format!("{prefix}-{number}"), from, until));
    }
    let (mut writers, mut load) = (Vec::new(), Load::default());
    while let Some(ended) = running.join_next().await {
        let (writer, samples) = ended.context("a writer panicked")??;
        writers.push(writer);
        load.latencies.extend(samples);
    }
    let count = u32::try_from(load.latencies.len())?;
    load.rate = f64::from(count) / time.as_secs_f64();
    Ok((writers, load))
}

async fn one<W: Writer>(
    mut writer: W,
    prefix: String,
    from: Instant,
    until: Instant,
) -> Result<(W, Samples)> {
    let mut samples = Samples::new();
    for number in 0_u64.. {
        let start = Instant::now();
        if start >= until {
            break;
        }
        writer.write(format!("{prefix}-{number}"), vec![b'v'; VALUE]).await?;
        let end = Instant::now();
        if start >= from && end <= until {
            samples.push(end - start);
        }
    }
    Ok((writer, samples))
}
