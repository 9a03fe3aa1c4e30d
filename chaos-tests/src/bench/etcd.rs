//! etcd for comparison: three members on this machine, and a small gRPC client for `Put`.
//!
//! Speaks just enough of gRPC and protobuf for two calls.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use h2::client::SendRequest;
use swarm_net::task::TaskGroup;
use tokio::net::TcpStream;

use super::load::Writer;
use crate::real::{Block, wait_until};

const CLIENT_PORT: u16 = 2379;
const PEER_PORT: u16 = 2380;
const MEMBERS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(30);
/// Within a block, above the nodes.
const FIRST_ADDRESS: usize = 8;

/// Three members; killed when dropped.
#[derive(Debug)]
pub(super) struct Etcd {
    members: Vec<Child>,
    addresses: Vec<SocketAddr>,
    tasks: TaskGroup,
}

/// Whether there is an etcd here.
pub(super) fn is_installed() -> bool {
    let quiet =
        |command: &mut Command| command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    quiet(Command::new("etcd").arg("--version")).is_ok_and(|status| status.success())
}

impl Etcd {
    /// Starts the members with their data in `scratch` and waits for a leader.
    pub(super) async fn start(scratch: &Path) -> Result<Self> {
        let block = Block::take();
        let ips: Vec<Ipv4Addr> =
            (0..MEMBERS).map(|number| block.ip(FIRST_ADDRESS + number)).collect::<Result<_>>()?;
        let peer = |ip: &Ipv4Addr| format!("http://{ip}:{PEER_PORT}");
        let all: Vec<_> =
            ips.iter().enumerate().map(|(number, ip)| format!("m{number}={}", peer(ip))).collect();
        let mut etcd = Self { members: Vec::new(), addresses: Vec::new(), tasks: TaskGroup::new() };
        for (number, ip) in ips.iter().enumerate() {
            let client = format!("http://{ip}:{CLIENT_PORT}");
            let mut member = Command::new("etcd");
            member
                .args(["--name", &format!("m{number}"), "--logger", "zap", "--log-level", "error"])
                .arg("--data-dir")
                .arg(scratch.join(format!("etcd{number}")))
                .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
                .args(["--listen-peer-urls", &peer(ip)])
                .args(["--initial-advertise-peer-urls", &peer(ip)])
                .args(["--initial-cluster", &all.join(","), "--initial-cluster-state", "new"]);
            member.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            etcd.members.push(member.spawn().context("start etcd")?);
            etcd.addresses.push(SocketAddr::from((*ip, CLIENT_PORT)));
        }
        etcd.leader().await?;
        Ok(etcd)
    }

    /// The number of the leader.
    pub(super) async fn leader(&self) -> Result<usize> {
        wait_until("an etcd leader", PATIENCE, async || {
            for number in 0..self.addresses.len() {
                if let Ok(mut client) = self.client(number).await
                    && client.leads().await.unwrap_or_default()
                {
                    return Some(number);
                }
            }
            None
        })
        .await
    }

    /// A connection of its own to a member.
    pub(super) async fn client(&self, number: usize) -> Result<EtcdWriter> {
        let address = *self.addresses.get(number).context("no such member")?;
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, driver) = h2::client::handshake(stream).await?;
        self.tasks.spawn("etcd client", async move {
            if let Err(error) = driver.await {
                tracing::debug!(%error, "etcd connection ended");
            }
        });
        Ok(EtcdWriter { sender, address })
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for member in &mut self.members {
            if let Err(error) = member.kill().and_then(|()| member.wait().map(drop)) {
                tracing::error!(%error, "an etcd member may be left");
            }
        }
    }
}

/// One connection to a member.
#[derive(Debug)]
pub(super) struct EtcdWriter {
    sender: SendRequest<Bytes>,
    address: SocketAddr,
}

impl EtcdWriter {
    /// Calls `method` with one protobuf message and gives the answer's.
    async fn call(&mut self, method: &str, message: &[u8]) -> Result<Vec<u8>> {
        let request = http::Request::post(format!("http://{}/etcdserverpb.{method}", self.address))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())?;
        // Not compressed, then the length.
        let mut frame = vec![0];
        frame.extend(u32::try_from(message.len())?.to_be_bytes());
        frame.extend(message);
        std::future::poll_fn(|context| self.sender.poll_ready(context)).await?;
        let (answer, mut stream) = self.sender.send_request(request, false)?;
        stream.send_data(Bytes::from(frame), true)?;
        let answer = answer.await?;
        let mut body = answer.into_body();
        let mut bytes = Vec::new();
        while let Some(chunk) = body.data().await {
            let chunk = chunk?;
            body.flow_control().release_capacity(chunk.len())?;
            bytes.extend(chunk);
        }
        let trailers = body.trailers().await?.context("no trailers")?;
        let status = trailers.get("grpc-status").map(http::HeaderValue::as_bytes);
        ensure!(status == Some(b"0"), "etcd refused: {trailers:?}");
        ensure!(bytes.len() >= 5, "etcd's answer is too short");
        Ok(bytes.split_off(5))
    }

    /// Whether this member leads.
    async fn leads(&mut self) -> Result<bool> {
        let status = self.call("Maintenance/Status", &[]).await?;
        let fields = decode(&status)?;
        let header = fields.iter().find_map(|field| match field {
            (1, Value::Bytes(bytes)) => Some(*bytes),
            _ => None,
        });
        let number = |fields: &[(u64, Value<'_>)], wanted: u64| {
            fields.iter().find_map(|field| match field {
                (tag, Value::Number(number)) if *tag == wanted => Some(*number),
                _ => None,
            })
        };
        let own = number(&decode(header.context("no header")?)?, 2);
        Ok(own.is_some() && own == number(&fields, 4))
    }
}

impl Writer for EtcdWriter {
    async fn write(&mut self, key: String, value: Vec<u8>) -> Result<()> {
        let mut message = Vec::new();
        field(&mut message, 1, key.as_bytes())?;
        field(&mut message, 2, &value)?;
        self.call("KV/Put", &message).await.map(drop)
    }
}

fn varint(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push(u8::try_from(number & 0x7f).expect("seven bits") | 0x80);
        number >>= 7;
    }
    to.push(u8::try_from(number).expect("seven bits"));
}

/// A field of bytes.
fn field(to: &mut Vec<u8>, tag: u8, bytes: &[u8]) -> Result<()> {
    to.push(tag << 3 | 2);
    varint(to, u64::try_from(bytes.len())?);
    to.extend(bytes);
    Ok(())
}

/// A field's value.
#[derive(Debug, PartialEq, Eq)]
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of a message.
fn decode(mut from: &[u8]) -> Result<Vec<(u64, Value<'_>)>> {
    let mut fields = Vec::new();
    while !from.is_empty() {
        let key = read_varint(&mut from)?;
        let value = match key & 7 {
            0 => Value::Number(read_varint(&mut from)?),
            2 => {
                let length = usize::try_from(read_varint(&mut from)?)?;
                let (bytes, rest) = from.split_at_checked(length).context("too short")?;
                from = rest;
                Value::Bytes(bytes)
            }
            kind => bail!("field of kind {kind}"),
        };
        fields.push((key >> 3, value));
    }
    Ok(fields)
}

fn read_varint(from: &mut &[u8]) -> Result<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = from.split_first().context("too short")?;
        *from = rest;
        number |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Ok(number);
        }
    }
    bail!("a number without end")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_back() {
        let mut message = Vec::new();
        field(&mut message, 1, &[9; 300]).expect("short enough");
        message.push(4 << 3);
        varint(&mut message, u64::MAX);
        let fields = decode(&message).expect("well-formed");
        assert_eq!(fields, [(1, Value::Bytes(&[9; 300])), (4, Value::Number(u64::MAX))]);
        assert!(decode(&message[..200]).is_err());
    }
}
