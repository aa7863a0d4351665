//! SOCKS5 (RFC 1928): CONNECT without authentication, to a name or an address.

use super::{SOCKS5, Way};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const NO_AUTHENTICATION: u8 = 0;
const NO_ACCEPTABLE_METHOD: u8 = 0xFF;
const CONNECT: u8 = 1;
const SUCCEEDED: u8 = 0;
const HOST_UNREACHABLE: u8 = 4;
const COMMAND_NOT_SUPPORTED: u8 = 7;
const ADDRESS_NOT_SUPPORTED: u8 = 8;

pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(mut client: S, way: &Way) -> io::Result<()> {
    // Version, number of methods, methods.
    let _version = client.read_u8().await?;
    let count = client.read_u8().await?;
    let mut methods = vec![0; usize::from(count)];
    client.read_exact(&mut methods).await?;
    if !methods.contains(&NO_AUTHENTICATION) {
        client.write_all(&[SOCKS5, NO_ACCEPTABLE_METHOD]).await?;
        return client.shutdown().await;
    }
    client.write_all(&[SOCKS5, NO_AUTHENTICATION]).await?;

    let mut request = [0; 4];
    client.read_exact(&mut request).await?;
    let [_version, command, _reserved, kind] = request;
    let host = match kind {
        1 => Ipv4Addr::from_bits(client.read_u32().await?).to_string(),
        4 => Ipv6Addr::from_bits(client.read_u128().await?).to_string(),
        3 => {
            let length = client.read_u8().await?;
            let mut name = vec![0; usize::from(length)];
            client.read_exact(&mut name).await?;
            String::from_utf8_lossy(&name).into_owned()
        }
        _ => return refuse(client, ADDRESS_NOT_SUPPORTED).await,
    };
    let port = client.read_u16().await?;
    if command != CONNECT {
        return refuse(client, COMMAND_NOT_SUPPORTED).await;
    }
    match way.connect(&host, port).await {
        Ok(mut mesh) => {
            client.write_all(&reply(SUCCEEDED)).await?;
            tokio::io::copy_bidirectional(&mut client, &mut mesh).await.map(|_| ())
        }
        Err(_) => refuse(client, HOST_UNREACHABLE).await,
    }
}

async fn refuse<S: AsyncWrite + Unpin>(mut client: S, why: u8) -> io::Result<()> {
    client.write_all(&reply(why)).await?;
    client.shutdown().await
}

/// The bound address means nothing here: 0.0.0.0:0.
fn reply(code: u8) -> [u8; 10] {
    [SOCKS5, code, 0, 1, 0, 0, 0, 0, 0, 0]
}
