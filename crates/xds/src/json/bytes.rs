//! Writing protobuf's wire format, field by field.

/// Field numbers of the messages that have a JSON form of their own.
pub(super) mod tag {
    pub(in crate::json) const ANY_TYPE_URL: u32 = 1;
    pub(in crate::json) const ANY_VALUE: u32 = 2;
    /// `key` and `value` of a map's entry.
    pub(in crate::json) const KEY: u32 = 1;
    pub(in crate::json) const VALUE: u32 = 2;
    /// `seconds` and `nanos` of a duration or a time.
    pub(in crate::json) const SECONDS: u32 = 1;
    pub(in crate::json) const NANOS: u32 = 2;
    /// The only field of a wrapper, a list or a field mask.
    pub(in crate::json) const ONLY: u32 = 1;
}

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WireType {
    Varint = 0,
    Eight = 1,
    Length = 2,
    Four = 5,
}

pub(super) trait Wire {
    fn varint(&mut self, value: u64);
    fn key(&mut self, number: u32, kind: WireType);
    /// A field of known length: text, bytes, a message.
    fn field(&mut self, number: u32, body: &[u8]);
    fn number(&mut self, number: u32, value: u64);
}

impl Wire for Vec<u8> {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.push(value as u8);
    }

    fn key(&mut self, number: u32, kind: WireType) {
        self.varint(u64::from(number) << 3 | kind as u64);
    }

    fn field(&mut self, number: u32, body: &[u8]) {
        self.key(number, WireType::Length);
        self.varint(body.len() as u64);
        self.extend_from_slice(body);
    }

    fn number(&mut self, number: u32, value: u64) {
        self.key(number, WireType::Varint);
        self.varint(value);
    }
}
