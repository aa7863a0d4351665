//! Counts gRPC messages in a body as it passes: each begins with a flag and four bytes of length.

use std::cell::Cell;

/// How many messages have begun in one direction.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    count: Cell<u64>,
    /// Bytes of the message that are still to come.
    rest: Cell<u64>,
    /// Of a head that came in pieces: how many bytes, and those of the length.
    head: Cell<(u8, u32)>,
}

const HEAD: u8 = 5;

impl Messages {
    pub(crate) fn count(&self) -> u64 {
        self.count.get()
    }

    pub(crate) fn read(&self, mut data: &[u8]) {
        while !data.is_empty() {
            let skip = usize::try_from(self.rest.get()).unwrap_or(usize::MAX).min(data.len());
            if skip > 0 {
                self.rest.set(self.rest.get() - skip as u64);
                data = &data[skip..];
                continue;
            }
            let (had, length) = self.head.get();
            // The flag is no part of the length.
            let length = if had == 0 { 0 } else { length << 8 | u32::from(data[0]) };
            data = &data[1..];
            if had + 1 == HEAD {
                self.count.set(self.count.get() + 1);
                self.rest.set(u64::from(length));
                self.head.set((0, 0));
            } else {
                self.head.set((had + 1, length));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_in_pieces_of_any_size() {
        let mut body = Vec::new();
        for length in [0u32, 3, 300] {
            body.push(0);
            body.extend_from_slice(&length.to_be_bytes());
            body.extend(std::iter::repeat_n(1, length as usize));
        }
        for size in [1, 2, 7, 400] {
            let messages = Messages::default();
            body.chunks(size).for_each(|piece| messages.read(piece));
            assert_eq!(messages.count(), 3, "in pieces of {size}");
        }
    }
}
