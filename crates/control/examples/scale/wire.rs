//! As much of protobuf and gRPC as the simulated sidecars need: requests are put together by hand, responses walked
//! over for their names.

/// Keys of length-delimited fields.
const fn field(number: u8) -> u8 {
    number << 3 | 2
}

fn varint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put(out: &mut Vec<u8>, number: u8, contents: &[u8]) {
    out.push(field(number));
    varint(out, contents.len());
    out.extend_from_slice(contents);
}

/// google.protobuf.Struct with strings, and one level of Structs below.
fn structure(json: &serde_json::Map<String, serde_json::Value>) -> Vec<u8> {
    let mut out = Vec::new();
    for (key, value) in json {
        let mut wrapped = Vec::new();
        match value {
            serde_json::Value::String(text) => put(&mut wrapped, 3, text.as_bytes()),
            serde_json::Value::Object(fields) => put(&mut wrapped, 5, &structure(fields)),
            _ => continue,
        }
        let mut entry = Vec::new();
        put(&mut entry, 1, key.as_bytes());
        put(&mut entry, 2, &wrapped);
        put(&mut out, 1, &entry);
    }
    out
}

/// envoy.config.core.v3.Node.
pub(crate) fn node(id: &str, metadata: &serde_json::Value) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, 1, id.as_bytes());
    put(&mut out, 3, &metadata.as_object().map(structure).unwrap_or_default());
    out
}

/// A DeltaDiscoveryRequest, with gRPC's header before it.
#[derive(Default)]
pub(crate) struct Request<'a> {
    pub(crate) node: &'a [u8],
    pub(crate) type_url: &'a str,
    pub(crate) subscribe: &'a [&'a str],
    pub(crate) nonce: &'a str,
}

impl Request<'_> {
    pub(crate) fn framed(&self) -> Vec<u8> {
        let mut out = vec![0; 5];
        if !self.node.is_empty() {
            put(&mut out, 1, self.node);
        }
        put(&mut out, 2, self.type_url.as_bytes());
        for name in self.subscribe {
            put(&mut out, 3, name.as_bytes());
        }
        if !self.nonce.is_empty() {
            put(&mut out, 6, self.nonce.as_bytes());
        }
        let length = (out.len() - 5) as u32;
        out[1..5].copy_from_slice(&length.to_be_bytes());
        out
    }
}

/// The fields of a message that have a length: their numbers and contents.
fn fields(mut message: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (key, rest) = message.split_first()?;
        let (mut length, mut shift, mut at) = (0, 0, 0);
        loop {
            let byte = *rest.get(at)?;
            length |= usize::from(byte & 0x7f) << shift;
            (shift, at) = (shift + 7, at + 1);
            if byte < 0x80 {
                break;
            }
        }
        let (contents, after) = rest.get(at..)?.split_at_checked(length)?;
        message = after;
        Some((key >> 3, contents))
    })
}

/// A DeltaDiscoveryResponse.
#[derive(Default)]
pub(crate) struct Response<'a> {
    pub(crate) type_url: &'a str,
    pub(crate) nonce: &'a str,
}

impl<'a> Response<'a> {
    pub(crate) fn read(message: &'a [u8]) -> Self {
        let mut response = Self::default();
        for (number, contents) in fields(message) {
            match number {
                4 => response.type_url = std::str::from_utf8(contents).unwrap_or(""),
                5 => response.nonce = std::str::from_utf8(contents).unwrap_or(""),
                _ => {}
            }
        }
        response
    }
}

/// The names of a response's resources.
pub(crate) fn names(message: &[u8]) -> impl Iterator<Item = &str> {
    let resources = fields(message).filter(|(number, _)| *number == 2);
    let named = |resource| fields(resource).find(|(number, _)| *number == 3);
    resources.filter_map(move |(_, resource)| std::str::from_utf8(named(resource)?.1).ok())
}
