//! WebSocket echo (RFC 6455): each message comes back as it was sent, pings are answered, a close is returned.
//! `http` upgrades, this file speaks from then on. Messages of any size pass through a small buffer.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha1::{Digest, Sha1};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;
const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;
/// 1002, a protocol error.
const PROTOCOL_ERROR: [u8; 4] = [FIN | CLOSE, 2, 0x03, 0xEA];

/// The `Sec-WebSocket-Accept` that answers this `Sec-WebSocket-Key`.
pub(super) fn accept(key: &[u8]) -> String {
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update(GUID);
    BASE64_STANDARD.encode(hash.finalize())
}

/// Echoes until the client closes.
pub(super) async fn echo<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let mut start = [0; 2];
        stream.read_exact(&mut start).await?;
        let [first, second] = start;
        let opcode = first & 0x0F;
        let length = match second & !MASKED {
            126 => u64::from(stream.read_u16().await?),
            127 => stream.read_u64().await?,
            short => u64::from(short),
        };
        // Clients must mask, and a control frame is short and whole.
        if second & MASKED == 0 || (opcode >= CLOSE && (length > 125 || first & FIN == 0)) {
            stream.write_all(&PROTOCOL_ERROR).await?;
            return stream.shutdown().await;
        }
        let mut mask = [0; 4];
        stream.read_exact(&mut mask).await?;
        let silent = opcode == PONG;
        let answer = if opcode == PING { FIN | PONG } else { first };
        if !silent {
            stream.write_all(&header(answer, length)).await?;
        }
        let mut left = length;
        let mut phase = 0;
        while left > 0 {
            let part = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            stream.read_exact(&mut buffer[..part]).await?;
            for byte in &mut buffer[..part] {
                *byte ^= mask[phase];
                phase = (phase + 1) % 4;
            }
            if !silent {
                stream.write_all(&buffer[..part]).await?;
            }
            left -= part as u64;
        }
        stream.flush().await?;
        if opcode == CLOSE {
            return stream.shutdown().await;
        }
    }
}

fn header(first: u8, length: u64) -> Vec<u8> {
    let mut header = vec![first];
    match length {
        // Each arm's range fits the width that it is cast to.
        0..=125 => header.push(length as u8),
        126..=0xFFFF => {
            header.push(126);
            header.extend((length as u16).to_be_bytes());
        }
        _ => {
            header.push(127);
            header.extend(length.to_be_bytes());
        }
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = header(first, payload.len() as u64);
        frame[1] |= MASKED;
        let mask = [1, 2, 3, 4];
        frame.extend(mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m));
        frame
    }

    #[test]
    fn the_accept_key_of_the_rfc() {
        assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[tokio::test]
    async fn messages_pings_and_closes_come_back_unmasked() {
        let long = vec![7; 70_000];
        let (mut client, mut server) = tokio::io::duplex(1 << 20);
        let served = tokio::spawn(async move { echo(&mut server).await });
        let mut expected = Vec::new();
        for (first, answer, payload) in [
            (FIN | 1, FIN | 1, &b"hello"[..]),
            (1, 1, b"frag"),
            (FIN | PING, FIN | PONG, b"p"),
            (FIN, FIN, b"ment"),
            (FIN | 2, FIN | 2, &long),
            (FIN | CLOSE, FIN | CLOSE, &[0x03, 0xE8]),
        ] {
            client.write_all(&masked(first, payload)).await.expect("written");
            expected.extend(header(answer, payload.len() as u64));
            expected.extend(payload);
        }
        let mut got = Vec::new();
        client.read_to_end(&mut got).await.expect("read");
        assert!(got == expected);
        served.await.expect("no panic").expect("closed in order");
    }

    #[tokio::test]
    async fn an_unmasked_frame_is_refused() {
        let (mut client, mut server) = tokio::io::duplex(1024);
        let served = tokio::spawn(async move { echo(&mut server).await });
        client.write_all(&[FIN | 1, 1, b'x']).await.expect("written");
        let mut got = Vec::new();
        client.read_to_end(&mut got).await.expect("read");
        assert_eq!(got, PROTOCOL_ERROR);
        served.await.expect("no panic").expect("closed in order");
    }
}
