//! Protobuf maps in one order, so that equal configuration gives equal bytes.
//!
//! The generated types keep maps in `HashMap`s, which come out in another order each time. Only entries of
//! one map are exchanged here, so that no length changes and the work is done in place.

/// Where maps are, in messages of one type: field number and what is in it.
struct Schema(&'static [(u64, Inside)]);

#[derive(Clone, Copy)]
enum Inside {
    Message(&'static Schema),
    /// A map whose values are of that type.
    Map(&'static Schema),
}

use Inside::{Map, Message};

static LEAF: Schema = Schema(&[]);
static STRUCT: Schema = Schema(&[(1, Map(&VALUE))]);
static VALUE: Schema = Schema(&[(5, Message(&STRUCT)), (6, Message(&LIST))]);
static LIST: Schema = Schema(&[(1, Message(&VALUE))]);
static METADATA: Schema = Schema(&[(1, Map(&STRUCT))]);

static ROUTE: Schema = Schema(&[(4, Message(&METADATA)), (13, Map(&LEAF))]);
static VIRTUAL_HOST: Schema = Schema(&[(3, Message(&ROUTE)), (24, Message(&METADATA))]);
static ROUTES: Schema = Schema(&[(2, Message(&VIRTUAL_HOST))]);
static HCM: Schema = Schema(&[(4, Message(&ROUTES))]);
static TCP_PROXY: Schema = Schema(&[(9, Message(&METADATA))]);
static FILTER_CHAIN: Schema = Schema(&[(5, Message(&METADATA))]);
static LISTENER: Schema = Schema(&[(3, Message(&FILTER_CHAIN)), (25, Message(&FILTER_CHAIN)), (6, Message(&METADATA))]);
static LB_ENDPOINT: Schema = Schema(&[(3, Message(&METADATA))]);
static LOCALITY: Schema = Schema(&[(2, Message(&LB_ENDPOINT))]);
static ASSIGNMENT: Schema = Schema(&[(2, Message(&LOCALITY))]);
static SOCKET_MATCH: Schema = Schema(&[(2, Message(&STRUCT))]);
static CLUSTER: Schema =
    Schema(&[(25, Message(&METADATA)), (33, Message(&ASSIGNMENT)), (36, Map(&LEAF)), (43, Message(&SOCKET_MATCH))]);
static LOG_FORMAT: Schema = Schema(&[(2, Message(&STRUCT))]);
static FILE_LOG: Schema = Schema(&[(5, Message(&LOG_FORMAT))]);

/// Puts the entries of every map of an encoded message into order. `message` is its protobuf name.
pub(crate) fn sort_maps(message: &str, bytes: &mut [u8]) {
    let schema = match message {
        "RouteConfiguration" => &ROUTES,
        "VirtualHost" => &VIRTUAL_HOST,
        "HttpConnectionManager" => &HCM,
        "TcpProxy" => &TCP_PROXY,
        "Listener" => &LISTENER,
        "ClusterLoadAssignment" => &ASSIGNMENT,
        "Cluster" => &CLUSTER,
        "FileAccessLog" => &FILE_LOG,
        _ => return,
    };
    sort(schema, bytes);
}

fn sort(schema: &Schema, bytes: &mut [u8]) {
    let mut at = 0;
    // Entries of the map that is being read: its field, where it begins, and each entry's end.
    let mut run: Option<(u64, usize, Vec<usize>)> = None;
    while let Some(field) = Field::read(bytes, at) {
        let inside = schema.0.iter().find(|(number, _)| *number == field.number);
        let is_map = matches!(inside, Some((_, Map(_))));
        if let Some((number, start, ends)) = &mut run
            && (!is_map || *number != field.number)
        {
            sort_entries(&mut bytes[*start..at], *start, ends);
            run = None;
        }
        match inside {
            Some((_, Message(schema))) => sort(schema, &mut bytes[field.body..field.end]),
            Some((number, Map(schema))) => {
                // The entry of a map is a message of key (1) and value (2).
                let entry = &mut bytes[field.body..field.end];
                let mut inner = 0;
                while let Some(part) = Field::read(entry, inner) {
                    if part.number == 2 && part.body < part.end {
                        sort(schema, &mut entry[part.body..part.end]);
                    }
                    inner = part.end;
                }
                run.get_or_insert((*number, at, Vec::new())).2.push(field.end);
            }
            None => {}
        }
        at = field.end;
    }
    if let Some((_, start, ends)) = run {
        sort_entries(&mut bytes[start..at], start, &ends);
    }
}

/// `ends` counts from where `start` does, not from the slice.
fn sort_entries(bytes: &mut [u8], start: usize, ends: &[usize]) {
    if ends.len() < 2 {
        return;
    }
    let copy = bytes.to_vec();
    let mut entries = Vec::with_capacity(ends.len());
    let mut from = 0;
    for end in ends {
        entries.push(&copy[from..end - start]);
        from = end - start;
    }
    entries.sort_unstable();
    let mut to = 0;
    for entry in entries {
        bytes[to..to + entry.len()].copy_from_slice(entry);
        to += entry.len();
    }
}

/// One field on the wire: its number, and where its contents are.
struct Field {
    number: u64,
    body: usize,
    end: usize,
}

impl Field {
    /// None at the end, and where the bytes are no protobuf.
    fn read(bytes: &[u8], at: usize) -> Option<Self> {
        let (key, after_key) = varint(bytes, at)?;
        let (body, end) = match key & 7 {
            0 => (after_key, varint(bytes, after_key)?.1),
            1 => (after_key, after_key + 8),
            2 => {
                let (length, body) = varint(bytes, after_key)?;
                (body, body.checked_add(usize::try_from(length).ok()?)?)
            }
            5 => (after_key, after_key + 4),
            _ => return None,
        };
        (end <= bytes.len()).then_some(Self { number: key >> 3, body, end })
    }
}

fn varint(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let mut value = 0;
    for (i, byte) in bytes.get(at..)?.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Some((value, at + i + 1));
        }
    }
    None
}
