//! Frames of HTTP/2 that are passed on, and floods that are not.

use super::*;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// The outcome of a connection's bytes, which must not depend on how they are cut.
fn outcome(frames: &[Vec<u8>]) -> Result<(), &'static str> {
    let bytes = [vec![b'P'; PREFACE], frames.concat()].concat();
    let whole = Frames::new(Instant::now()).look(&bytes);
    for size in [1, 2, 5, 11] {
        let mut guard = Frames::new(Instant::now());
        let cut = bytes.chunks(size).try_for_each(|piece| guard.look(piece));
        assert_eq!(cut, whole, "in pieces of {size}");
    }
    whole
}

fn request(stream: u32) -> Vec<u8> {
    // :method GET, :path /, :scheme http, :authority a
    frame(HEADERS, END_HEADERS, stream, &[0x82, 0x84, 0x86, 0x41, 0x01, b'a'])
}

#[test]
fn pseudo_headers_are_for_requests_alone() {
    let bad = Err("http2.pseudo_header_in_trailers");
    let literal = |name: &[u8]| [&[0x00, name.len() as u8], name, &[0x01, b'x']].concat();
    for (trailers, expected) in [
        (vec![], Ok(())),
        (literal(b"grpc-status"), Ok(())),
        (vec![0xbe, 0x7e, 0x01, b'x'], Ok(())),
        (vec![0x84], bad),
        (vec![0x44, 0x01, b'x'], bad),
        (vec![0x04, 0x01, b'x'], bad),
        (literal(b":path"), bad),
        ([literal(b"grpc-status"), literal(b":path")].concat(), bad),
        // Huffman: a colon, then anything.
        (vec![0x00, 0x82, 0xb9, 0x00, 0x00], bad),
        // Malformed: the codec says so.
        (vec![0xff, 0xff, 0xff, 0xff, 0xff], Ok(())),
        (vec![0x00, 0x7f], Ok(())),
    ] {
        let whole = frame(HEADERS, END_HEADERS | 1, 1, &trailers);
        assert_eq!(outcome(&[request(1), frame(0, 0, 1, b"body"), whole]), expected, "{trailers:x?}");
        let (a, b) = trailers.split_at(trailers.len() / 2);
        let parts = [frame(HEADERS, 1, 1, a), frame(CONTINUATION, END_HEADERS, 1, b)].concat();
        assert_eq!(outcome(&[request(1), parts, request(3)]), expected, "{trailers:x?} in two");
    }
}

#[test]
fn padding_and_priority_are_not_headers() {
    let payload = [&[3][..], &[0, 0, 0, 0, 0], &[0x84], &[0, 0, 0]].concat();
    let trailers = frame(HEADERS, END_HEADERS | PADDED | PRIORITY_FLAG, 1, &payload);
    assert!(outcome(&[request(1), trailers]).is_err());
    let request = frame(HEADERS, END_HEADERS | PADDED | PRIORITY_FLAG, 1, &payload);
    assert!(outcome(&[request]).is_ok());
}

#[test]
fn control_frames_are_limited() {
    let ping = frame(PING, 0, 0, &[0; 8]);
    let mut guard = Frames::new(Instant::now());
    guard.look(&[0; PREFACE]).expect("a preface");
    for _ in 0..CONTROL_FRAMES_MAX {
        guard.look(&ping).expect("within the limit");
    }
    // The clock is the machine's, and the loop takes no ten seconds; where it did, the count has begun anew.
    let refused = guard.look(&ping).is_err();
    assert!(refused || guard.control == 1);
}

#[test]
fn pings_that_come_with_data_or_answer_ours_are_no_flood() {
    let mut guard = Frames::new(Instant::now());
    guard.look(&[0; PREFACE]).expect("a preface");
    let both = [frame(DATA, 0, 1, b"x"), frame(PING, 0, 0, &[0; 8]), frame(PING, ACK, 0, &[0; 8])].concat();
    for _ in 0..3 * CONTROL_FRAMES_MAX {
        guard.look(&both).expect("no flood");
    }
}
