//! Between an upstream's socket and hyper's HTTP/1 codec: a small message goes out in one plain write.
//!
//! The codec hands over head and body as separate buffers; for a few hundred bytes a vectored write costs the
//! kernel more than putting them together here.

use crate::tls::stream::UpstreamStream;
use hyper::rt::ReadBufCursor;
use hyper_util::rt::TokioIo;
use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::AsyncWrite;

/// What is put together; longer messages are written from where they are.
const SMALL: usize = 8 * 1024;

thread_local! {
    static TOGETHER: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(SMALL));
}

/// Writes several buffers, in one plain write where they are small.
pub(crate) fn poll_write_together<W: AsyncWrite>(
    stream: Pin<&mut W>,
    cx: &mut Context<'_>,
    bufs: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    match bufs {
        [one] => return stream.poll_write(cx, one),
        _ if bufs.iter().map(|buf| buf.len()).sum::<usize>() > SMALL => return stream.poll_write_vectored(cx, bufs),
        _ => {}
    }
    TOGETHER.with_borrow_mut(|together| {
        together.clear();
        for buf in bufs {
            together.extend_from_slice(buf);
        }
        stream.poll_write(cx, together)
    })
}

pub(crate) struct UpstreamIo(TokioIo<UpstreamStream>);

impl UpstreamIo {
    pub(crate) fn new(stream: UpstreamStream) -> Self {
        Self(TokioIo::new(stream))
    }
}

impl hyper::rt::Read for UpstreamIo {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl hyper::rt::Write for UpstreamIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        hyper::rt::Write::poll_write(Pin::new(&mut self.0), cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        hyper::rt::Write::poll_flush(Pin::new(&mut self.0), cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        hyper::rt::Write::poll_shutdown(Pin::new(&mut self.0), cx)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        poll_write_together(Pin::new(self.0.inner_mut()), cx, bufs)
    }
}
