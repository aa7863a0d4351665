use super::*;
use crate::wire::WireDeltaRequest;
use http_body::Frame;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::task::{Context, Poll};

const LIMIT: usize = 16 << 20;

/// A body of these pieces.
struct Pieces(VecDeque<Frame<Bytes>>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }
}

fn message(nonce: &str) -> WireDeltaRequest {
    WireDeltaRequest { nonce: nonce.into(), ..Default::default() }
}

fn cut(bytes: &[u8], size: usize) -> Frames<Pieces> {
    Frames::new(Pieces(bytes.chunks(size).map(|c| Frame::data(Bytes::copy_from_slice(c))).collect()), LIMIT)
}

#[tokio::test]
async fn messages_are_read_however_they_are_cut() {
    let long = "x".repeat(1000);
    let bytes = [framed(&message("1")), framed(&message("")), framed(&message(&long))].concat();
    for size in [1, 2, 5, 7, 100, bytes.len()] {
        let mut frames = cut(&bytes, size);
        for nonce in ["1", "", &long] {
            assert_eq!(frames.next::<WireDeltaRequest>().await.unwrap(), Some(message(nonce)));
        }
        assert_eq!(frames.next::<WireDeltaRequest>().await.unwrap(), None);
        assert_eq!(frames.buffer.capacity(), 0, "nothing is kept of what was read");
    }
}

#[tokio::test]
async fn what_is_no_message_is_an_error() {
    let whole = framed(&message("1"));
    let cases: [(&[u8], Code); 4] = [
        (&whole[..whole.len() - 1], Code::Unavailable),
        (&[1, 0, 0, 0, 0], Code::Unimplemented),
        (&[0, 0xff, 0xff, 0xff, 0xff], Code::ResourceExhausted),
        (&[0, 0, 0, 0, 1, 0xff], Code::InvalidArgument),
    ];
    for (bytes, code) in cases {
        assert_eq!(cut(bytes, 3).next::<WireDeltaRequest>().await.unwrap_err().code(), code);
    }
}

#[tokio::test]
async fn the_status_in_the_trailers_counts() {
    let mut trailers = HeaderMap::new();
    Status::permission_denied("no").add_header(&mut trailers).unwrap();
    let mut frames = Frames::new(Pieces(VecDeque::from([Frame::trailers(trailers)])), LIMIT);
    let status = frames.next::<WireDeltaRequest>().await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::PermissionDenied, "no"));
}

#[tokio::test]
async fn a_length_alone_takes_no_memory() {
    let length = (LIMIT as u32).to_be_bytes();
    let mut frames = cut(&[&[0], &length[..], &[1, 2, 3]].concat(), 8);
    assert_eq!(frames.next::<WireDeltaRequest>().await.unwrap_err().code(), Code::Unavailable);
    assert!(frames.buffer.capacity() <= 2 * ROOM, "{}", frames.buffer.capacity());
    let longer = (LIMIT as u32 + 1).to_be_bytes();
    let error = cut(&[&[0], &longer[..]].concat(), 8).next::<WireDeltaRequest>().await.unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted);
}
