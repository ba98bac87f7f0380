//! Keys of the state: tables and the parts of their keys.
//!
//! The encoding of a part keeps the order of its values: integers are big-endian, and a text ends with a mark that is less
//! than every other continuation of it. So a range of keys is a range of values. An encoding that a release has used never
//! changes.

use std::marker::PhantomData;

use storage::blobs::Hash;
use uuid::Uuid;

use crate::{Audience, JobState, Order, TaskId};

/// A range of keys: from the first, up to and without the second.
pub(crate) type Range = (Vec<u8>, Vec<u8>);

/// A text as a part of a key.
pub(crate) enum Text {}

/// The rest of a key: only as its last part.
pub(crate) enum Bytes {}

/// The length of a table's number.
const NUMBER: usize = 2;

/// Values `V` under keys of the form `K`.
pub(crate) struct Table<K, V> {
    number: u16,
    form: PhantomData<fn(K) -> V>,
}

impl<K, V> Clone for Table<K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for Table<K, V> {}

/// A value that can be a part of the form `F` in a key.
pub(crate) trait Part<F> {
    fn write(self, key: &mut Vec<u8>);
}

/// A key of several parts.
pub(crate) trait Parts {
    type First;
}

impl<A, B> Parts for (A, B) {
    type First = A;
}

impl<A, B, C> Parts for (A, B, C) {
    type First = A;
}

impl<K, V> Table<K, V> {
    pub(crate) const fn new(number: u16) -> Self {
        Self { number, form: PhantomData }
    }

    fn prefix<F>(self, part: impl Part<F>) -> Vec<u8> {
        // One more byte, for the generation that is put before the key.
        let mut key = Vec::with_capacity(1 + NUMBER + 24);
        key.extend_from_slice(&self.number.to_be_bytes());
        part.write(&mut key);
        key
    }

    /// The key of a value.
    pub(crate) fn key(self, key: impl Part<K>) -> Vec<u8> {
        self.prefix(key)
    }

    /// All keys.
    pub(crate) fn all(self) -> Range {
        beginning_with(self.prefix(()))
    }

    /// The keys less than this one, or all.
    pub(crate) fn below(self, key: Option<impl Part<K>>) -> Range {
        let (from, to) = self.all();
        (from, key.map_or(to, |key| self.key(key)))
    }
}

impl<K: Parts, V> Table<K, V> {
    /// The keys with this first part.
    pub(crate) fn under(self, first: impl Part<K::First>) -> Range {
        beginning_with(self.prefix(first))
    }

    /// The keys whose first part is at least this one.
    pub(crate) fn from(self, first: impl Part<K::First>) -> Range {
        (self.prefix(first), self.all().1)
    }

    /// The keys whose first part is less than this one.
    pub(crate) fn until(self, first: impl Part<K::First>) -> Range {
        (self.all().0, self.prefix(first))
    }

    /// The keys whose first part is at least `from` and less than `until`.
    pub(crate) fn between(self, from: impl Part<K::First>, until: impl Part<K::First>) -> Range {
        (self.prefix(from), self.prefix(until))
    }
}

impl<A, B, V> Table<(A, B), V> {
    /// The keys with this first part and, if `second` is given, a lesser second part.
    pub(crate) fn under_below(self, first: impl Part<A> + Copy, second: Option<impl Part<B>>) -> Range {
        let (from, to) = self.under(first);
        (from, second.map_or(to, |second| self.key((first, second))))
    }
}

impl<A, B, C, V> Table<(A, B, C), V> {
    /// The keys with these first two parts.
    pub(crate) fn under_two(self, first: impl Part<A>, second: impl Part<B>) -> Range {
        beginning_with(self.prefix::<(A, B)>((first, second)))
    }
}

impl<B, V> Table<(Text, B), V> {
    /// The keys whose first part begins with this text.
    pub(crate) fn beginning_with(self, text: &str) -> Range {
        let mut key = self.prefix(());
        write_text(text, &mut key);
        beginning_with(key)
    }
}

impl<A, V> Table<(A, Bytes), V> {
    /// The keys with this first part whose second part begins with these bytes.
    pub(crate) fn under_beginning(self, first: impl Part<A>, second: &[u8]) -> Range {
        beginning_with(self.prefix::<(A, Bytes)>((first, second)))
    }
}

/// The keys that begin with `prefix`, which does not consist of 255s.
fn beginning_with(prefix: Vec<u8>) -> Range {
    let mut end = prefix.clone();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            break;
        }
    }
    (prefix, end)
}

/// Writes a text without the mark of its end. A zero byte in it is followed by 255.
fn write_text(text: &str, key: &mut Vec<u8>) {
    for byte in text.bytes() {
        key.push(byte);
        if byte == 0 {
            key.push(u8::MAX);
        }
    }
}

impl Part<()> for () {
    fn write(self, _: &mut Vec<u8>) {}
}

impl Part<u64> for u64 {
    fn write(self, key: &mut Vec<u8>) {
        key.extend_from_slice(&self.to_be_bytes());
    }
}

impl Part<u32> for u32 {
    fn write(self, key: &mut Vec<u8>) {
        key.extend_from_slice(&self.to_be_bytes());
    }
}

impl Part<Hash> for &Hash {
    fn write(self, key: &mut Vec<u8>) {
        key.extend_from_slice(self.as_bytes());
    }
}

impl Part<Uuid> for &Uuid {
    fn write(self, key: &mut Vec<u8>) {
        key.extend_from_slice(self.as_bytes());
    }
}

impl Part<Text> for &str {
    fn write(self, key: &mut Vec<u8>) {
        write_text(self, key);
        key.extend_from_slice(&[0, 1]);
    }
}

impl Part<Bytes> for &[u8] {
    fn write(self, key: &mut Vec<u8>) {
        key.extend_from_slice(self);
    }
}

impl Part<Audience> for Audience {
    fn write(self, key: &mut Vec<u8>) {
        self.number().write(key);
    }
}

impl Part<JobState> for JobState {
    fn write(self, key: &mut Vec<u8>) {
        key.push(self as u8);
    }
}

impl Part<Order> for Order {
    fn write(self, key: &mut Vec<u8>) {
        key.push(self as u8);
    }
}

impl Part<(u64, u32)> for TaskId {
    fn write(self, key: &mut Vec<u8>) {
        (self.job, self.index).write(key);
    }
}

impl<A, B, X: Part<A>, Y: Part<B>> Part<(A, B)> for (X, Y) {
    fn write(self, key: &mut Vec<u8>) {
        self.0.write(key);
        self.1.write(key);
    }
}

impl<A, B, C, X: Part<A>, Y: Part<B>, Z: Part<C>> Part<(A, B, C)> for (X, Y, Z) {
    fn write(self, key: &mut Vec<u8>) {
        self.0.write(key);
        self.1.write(key);
        self.2.write(key);
    }
}

#[cfg(test)]
pub(crate) mod readable {
    //! Keys in readable form, for the golden scripts.

    use super::*;

    /// A form of keys that can be read back.
    pub(crate) trait Form {
        fn show(key: &mut &[u8]) -> String;
    }

    impl<K: Form, V> Table<K, V> {
        /// The name of the table and the parts of the key.
        pub(crate) fn show_key(self, name: &str, mut key: &[u8]) -> String {
            let shown = K::show(&mut key);
            assert!(key.is_empty(), "{name} has a key that is longer than its form");
            format!("{}({shown})", name.to_lowercase())
        }
    }

    fn take<'a>(key: &mut &'a [u8], count: usize) -> &'a [u8] {
        let (taken, rest) = key.split_at(count);
        *key = rest;
        taken
    }

    impl Form for () {
        fn show(_: &mut &[u8]) -> String {
            String::new()
        }
    }

    impl Form for u64 {
        fn show(key: &mut &[u8]) -> String {
            u64::from_be_bytes(take(key, 8).try_into().unwrap()).to_string()
        }
    }

    impl Form for u32 {
        fn show(key: &mut &[u8]) -> String {
            u32::from_be_bytes(take(key, 4).try_into().unwrap()).to_string()
        }
    }

    impl Form for Hash {
        fn show(key: &mut &[u8]) -> String {
            hex(take(key, 32))
        }
    }

    impl Form for Uuid {
        fn show(key: &mut &[u8]) -> String {
            Uuid::from_slice(take(key, 16)).unwrap().to_string()
        }
    }

    impl Form for Text {
        fn show(key: &mut &[u8]) -> String {
            let end = key.windows(2).position(|two| two == [0, 1]).unwrap();
            let text = String::from_utf8(take(key, end).to_vec()).unwrap();
            take(key, 2);
            text
        }
    }

    impl Form for Bytes {
        fn show(key: &mut &[u8]) -> String {
            let count = key.len();
            take(key, count).escape_ascii().to_string()
        }
    }

    impl Form for Audience {
        fn show(key: &mut &[u8]) -> String {
            let number = u64::from_be_bytes(take(key, 8).try_into().unwrap());
            format!("{:?}", if number == 0 { Audience::Everybody } else { Audience::User(number) })
        }
    }

    impl Form for JobState {
        fn show(key: &mut &[u8]) -> String {
            JobState::EVERY[usize::from(take(key, 1)[0])].to_string()
        }
    }

    impl Form for Order {
        fn show(key: &mut &[u8]) -> String {
            let number = take(key, 1)[0];
            format!(
                "{:?}",
                crate::songs::index::SORTED_ORDERS.into_iter().find(|order| *order as u8 == number).unwrap()
            )
        }
    }

    impl<A: Form, B: Form> Form for (A, B) {
        fn show(key: &mut &[u8]) -> String {
            format!("{}, {}", A::show(key), B::show(key))
        }
    }

    impl<A: Form, B: Form, C: Form> Form for (A, B, C) {
        fn show(key: &mut &[u8]) -> String {
            format!("{}, {}, {}", A::show(key), B::show(key), C::show(key))
        }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_keep_the_order_of_their_parts() {
        const TABLE: Table<(Text, u64), ()> = Table::new(7);
        let keys = [("", 9), ("a", 0), ("a", 256), ("a\0b", 0), ("ab", 1)].map(|key| TABLE.key(key));
        assert!(keys.is_sorted());
        let (from, to) = TABLE.under("a");
        let under: Vec<bool> = keys.iter().map(|key| (&from..&to).contains(&key)).collect();
        assert_eq!(under, [false, true, true, false, false]);
        let (from, to) = TABLE.beginning_with("a");
        let beginning: Vec<bool> = keys.iter().map(|key| (&from..&to).contains(&key)).collect();
        assert_eq!(beginning, [false, true, true, true, true]);
    }
}
