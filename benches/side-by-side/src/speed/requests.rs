//! Writes requests: a buffer that is made once for a workload, into which the keys' digits are written each time.
//!
//! Must not know what is answered, nor draw the keys.

use crate::items::{put_decimal, put_key};
use crate::speed::workloads::{Batch, Command, Dialect, Workload};

/// The last digits of a key, those that differ between two keys.
pub(crate) type Digits = [u8; 8];

/// The digits of a number below 10^8.
pub(crate) fn digits_of(number: u32) -> Digits {
    let (mut digits, mut rest) = ([b'0'; 8], number);
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    digits
}

/// What is sent at once for one batch of keys.
pub(crate) struct Request {
    bytes: Vec<u8>,
    /// Where the digits of each key stand: as many places for each, in the order of the keys.
    places: Vec<usize>,
    places_each: usize,
}

impl Request {
    pub(crate) fn new(workload: &Workload) -> Self {
        let mut request = Self { bytes: Vec::new(), places: Vec::new(), places_each: 1 };
        let is_one_line = matches!(workload.batch, Batch::Keys(_)) && workload.dialect == Dialect::Classic;
        if is_one_line {
            request.put("get");
        }
        for _ in 0..workload.batch.keys() {
            if is_one_line {
                request.put(" ");
                request.put_place();
            } else {
                request.put_one(workload);
            }
        }
        match (workload.batch, workload.dialect) {
            (Batch::Keys(_), Dialect::Classic) => request.put("\r\n"),
            (Batch::Keys(_), Dialect::Meta) => request.put("mn\r\n"),
            (Batch::Pipeline(_), _) => {}
        }
        request.places_each = request.places.len() / workload.batch.keys();
        request
    }

    /// One request of one key.
    fn put_one(&mut self, workload: &Workload) {
        let (command, more) = match (workload.command, workload.dialect, workload.batch) {
            (Command::Get, Dialect::Classic, _) => ("get ", ""),
            (Command::Get, Dialect::Meta, Batch::Pipeline(_)) => ("mg ", " k v"),
            (Command::Get, Dialect::Meta, Batch::Keys(_)) => ("mg ", " k v q"),
            (Command::Set, Dialect::Classic, _) => ("set ", " 0 0 "),
            (Command::Set, Dialect::Meta, _) => ("ms ", " "),
        };
        self.put(command);
        self.put_place();
        self.put(more);
        if workload.command == Command::Set {
            put_decimal(&mut self.bytes, workload.items.value_bytes as u64);
            self.put("\r\n");
            // A value begins with its key, so that a reply shows whose it is.
            let end = self.bytes.len() + workload.items.value_bytes;
            self.put_place();
            self.bytes.resize(end, b'v');
        }
        self.put("\r\n");
    }

    fn put(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
    }

    fn put_place(&mut self) {
        put_key(&mut self.bytes, 0);
        self.places.push(self.bytes.len() - size_of::<Digits>());
    }

    /// The bytes that ask for these keys, as many as the workload's batch has.
    pub(crate) fn of(&mut self, keys: &[u32]) -> &[u8] {
        for (key, places) in keys.iter().zip(self.places.chunks_exact(self.places_each)) {
            let digits = digits_of(*key);
            for place in places {
                self.bytes[*place..place + digits.len()].copy_from_slice(&digits);
            }
        }
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::{Request, digits_of};
    use crate::speed::workloads::{
        Batch, Items, META_GET, META_MULTIGET, META_SET, MULTIGET_1K, SET_PIPELINE, Workload,
    };

    fn text(workload: &Workload, keys: &[u32]) -> String {
        let mut request = Request::new(workload);
        request.of(&[3; 2][..keys.len()]);
        String::from_utf8(request.of(keys).to_vec()).expect("requests are text")
    }

    fn key(number: u32) -> String {
        format!("side-by-side:{number:017}")
    }

    #[test]
    fn digits_are_padded_with_zeros() {
        for number in [0, 7, 2_019_999, 99_999_999] {
            assert_eq!(digits_of(number), format!("{number:08}").as_bytes());
        }
    }

    #[test]
    fn requests_name_their_keys_and_values_begin_with_them() {
        let items = Items { first: 0, count: 10, value_bytes: 32 };
        let sets = Workload { items, batch: Batch::Pipeline(2), ..SET_PIPELINE };
        let set = |number| format!("set {0} 0 0 32\r\n{0}vv\r\n", key(number));
        assert_eq!(text(&sets, &[5, 1_000_006]), set(5) + &set(1_000_006));
        let gets = Workload { batch: Batch::Keys(2), ..MULTIGET_1K };
        assert_eq!(text(&gets, &[5, 6]), format!("get {} {}\r\n", key(5), key(6)));
    }

    #[test]
    fn meta_requests_ask_for_key_and_value() {
        assert_eq!(text(&META_GET, &[5]), format!("mg {} k v\r\n", key(5)));
        let gets = Workload { batch: Batch::Keys(2), ..META_MULTIGET };
        assert_eq!(text(&gets, &[5, 6]), format!("mg {} k v q\r\nmg {} k v q\r\nmn\r\n", key(5), key(6)));
        let items = Items { first: 0, count: 10, value_bytes: 30 };
        assert_eq!(text(&Workload { items, ..META_SET }, &[5]), format!("ms {0} 30\r\n{0}\r\n", key(5)));
    }
}
