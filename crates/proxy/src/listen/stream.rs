//! A client's connection, in plaintext or TLS, with the bytes that listener filters have read ahead of whoever serves
//! it.

use crate::tls::stream::Carried;
use bytes::{Buf, Bytes};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

#[derive(Debug)]
pub(crate) struct ClientStream {
    io: Carried<TlsStream<ClientStream>>,
    /// Read already; given out first.
    ahead: Bytes,
}

impl ClientStream {
    pub(crate) fn new(io: TcpStream, ahead: Bytes) -> Self {
        Self { io: Carried::Plain(io), ahead }
    }

    /// A connection whose handshake is done.
    pub(crate) fn tls(io: TlsStream<ClientStream>) -> Self {
        Self { io: Carried::Tls(Box::new(io)), ahead: Bytes::new() }
    }

    /// Puts bytes back in front of what is to be read.
    pub(crate) fn unread(&mut self, bytes: Bytes) {
        self.ahead = if self.ahead.is_empty() { bytes } else { [bytes, self.ahead.clone()].concat().into() };
    }

    /// Where the client wanted to go before the kernel redirected it here (SO_ORIGINAL_DST).
    pub(crate) fn original_destination(&self) -> Option<SocketAddr> {
        let io = match &self.io {
            Carried::Plain(io) => io,
            Carried::Tls(io) => return io.get_ref().0.original_destination(),
        };
        let socket = socket2::SockRef::from(io);
        let original = match io.local_addr().ok()? {
            SocketAddr::V4(_) => socket.original_dst_v4(),
            SocketAddr::V6(_) => socket.original_dst_v6(),
        };
        original.ok()?.as_socket()
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let n = self.ahead.len().min(buf.remaining());
            buf.put_slice(&self.ahead[..n]);
            self.ahead.advance(n);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
