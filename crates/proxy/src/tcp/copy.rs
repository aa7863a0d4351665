//! Bytes both ways between two connections, each direction closed when its own side has ended.

use bytes::{Buf, BytesMut};
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that went through, from the client up and down to it.
#[derive(Debug, Default)]
pub(crate) struct Copied {
    pub(crate) up: Cell<u64>,
    pub(crate) down: Cell<u64>,
}

/// How a copy ended.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    /// No byte for too long.
    pub(crate) idle: bool,
    pub(crate) client_failed: bool,
    pub(crate) upstream_failed: bool,
}

const CHUNK: usize = 16 * 1024;

/// Copies until both directions have ended, one has failed, or nothing moved for the idle time.
pub(crate) async fn copy_both<A, B>(mut client: A, mut upstream: B, idle: Option<Duration>, copied: &Copied) -> Ended
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let mut up = OneWay::default();
    let mut down = OneWay::default();
    let mut last = Instant::now();
    let mut timer = pin!(idle.map(|idle| tokio::time::sleep_until((last + idle).into())));
    let mut ended = Ended::default();
    poll_fn(|cx| {
        let before = (up.moved, down.moved);
        let up_result = up.poll(cx, Pin::new(&mut client), Pin::new(&mut upstream));
        let down_result = down.poll(cx, Pin::new(&mut upstream), Pin::new(&mut client));
        copied.up.set(up.moved);
        copied.down.set(down.moved);
        if before != (up.moved, down.moved) {
            last = Instant::now();
        }
        for (result, reader_is_client) in [(&up_result, true), (&down_result, false)] {
            if let Poll::Ready(Err(side)) = result {
                let client_side = matches!(side, Side::Read) == reader_is_client;
                ended.client_failed |= client_side;
                ended.upstream_failed |= !client_side;
                return Poll::Ready(());
            }
        }
        if up_result.is_ready() && down_result.is_ready() {
            return Poll::Ready(());
        }
        if let Some(idle) = idle {
            while let Some(mut sleep) = timer.as_mut().as_pin_mut() {
                if sleep.as_mut().poll(cx).is_pending() {
                    break;
                }
                let next = last + idle;
                if Instant::now() >= next {
                    ended.idle = true;
                    return Poll::Ready(());
                }
                sleep.reset(next.into());
            }
        }
        Poll::Pending
    })
    .await;
    ended
}

/// One direction. Its buffer is there only while bytes wait for the writer: idle connections hold none.
#[derive(Default)]
struct OneWay {
    buffer: BytesMut,
    moved: u64,
    read_ended: bool,
    done: bool,
}

enum Side {
    Read,
    Write,
}

thread_local! {
    static SCRATCH: std::cell::RefCell<Box<[u8]>> = std::cell::RefCell::new(vec![0; CHUNK].into_boxed_slice());
}

impl OneWay {
    fn poll<R: AsyncRead, W: AsyncWrite>(
        &mut self,
        cx: &mut Context<'_>,
        mut from: Pin<&mut R>,
        mut to: Pin<&mut W>,
    ) -> Poll<Result<(), Side>> {
        if self.done {
            return Poll::Ready(Ok(()));
        }
        // Bounded, so that one busy connection does not keep a worker to itself.
        for _ in 0..32 {
            while !self.buffer.is_empty() {
                match ready!(to.as_mut().poll_write(cx, &self.buffer)) {
                    Ok(n) if n > 0 => {
                        self.buffer.advance(n);
                        self.moved += n as u64;
                    }
                    _ => return Poll::Ready(Err(Side::Write)),
                }
            }
            if self.read_ended {
                ready!(to.as_mut().poll_flush(cx)).map_err(|_| Side::Write)?;
                ready!(to.as_mut().poll_shutdown(cx)).or_else(not_connected).map_err(|_| Side::Write)?;
                self.done = true;
                return Poll::Ready(Ok(()));
            }
            self.buffer = BytesMut::new();
            let read = SCRATCH.with_borrow_mut(|scratch| {
                let mut buf = ReadBuf::new(scratch);
                ready!(from.as_mut().poll_read(cx, &mut buf)).map_err(|_| Side::Read)?;
                let bytes = buf.filled();
                if bytes.is_empty() {
                    self.read_ended = true;
                    return Poll::Ready(Ok(()));
                }
                // Straight on where the writer takes it.
                let written = match to.as_mut().poll_write(cx, bytes) {
                    Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => return Poll::Ready(Err(Side::Write)),
                    Poll::Ready(Ok(n)) => n,
                    Poll::Pending => 0,
                };
                self.moved += written as u64;
                self.buffer.extend_from_slice(&bytes[written..]);
                Poll::Ready(Ok(()))
            });
            match read {
                Poll::Ready(result) => result?,
                Poll::Pending => {
                    ready!(to.as_mut().poll_flush(cx)).map_err(|_| Side::Write)?;
                    return Poll::Pending;
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// The other side may have gone already, which is what shutting down wants.
fn not_connected(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotConnected { Ok(()) } else { Err(error) }
}
