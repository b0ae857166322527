//! Where the serializer's text goes: to a buffer, or against a text that is there already.
//!
//! Both take what is put in the same order, so that what is compared is what would be written.

use serde::ser::Error as _;
use serde_json::Error;

/// Where text goes.
pub(super) trait Sink {
    fn put(&mut self, text: &[u8]) -> Result<(), Error>;

    /// Three texts, one behind the other.
    fn put_all(&mut self, texts: [&[u8]; 3]) -> Result<(), Error>;
}

impl Sink for Vec<u8> {
    #[inline]
    fn put(&mut self, text: &[u8]) -> Result<(), Error> {
        self.extend_from_slice(text);
        Ok(())
    }

    #[inline]
    fn put_all(&mut self, texts: [&[u8]; 3]) -> Result<(), Error> {
        for text in texts {
            self.extend_from_slice(text);
        }
        Ok(())
    }
}

/// Takes only what it has.
pub(super) struct Expected<'a>(pub(super) [&'a [u8]; 2]);

impl<'a> Expected<'a> {
    /// What comes next. What is put never goes over from one piece to the next.
    #[inline]
    fn piece(&mut self) -> &mut &'a [u8] {
        let [first, second] = &mut self.0;
        if first.is_empty() { second } else { first }
    }
}

/// What comes in `piece` behind `text`, where that is its start.
#[inline]
fn behind<'a>(piece: &'a [u8], text: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = piece.split_at_checked(text.len())?;
    same(start, text).then_some(rest)
}

impl Sink for Expected<'_> {
    #[inline]
    fn put(&mut self, text: &[u8]) -> Result<(), Error> {
        let piece = self.piece();
        *piece = behind(piece, text).ok_or_else(other)?;
        Ok(())
    }

    #[inline]
    fn put_all(&mut self, texts: [&[u8]; 3]) -> Result<(), Error> {
        let piece = self.piece();
        let rest = texts.into_iter().try_fold(*piece, behind);
        *piece = rest.ok_or_else(other)?;
        Ok(())
    }
}

/// Whether two texts of one length are the same. Most are a few bytes, for which a call to compare
/// memory takes longer than the comparison: their first and last bytes are compared as one number each.
#[inline]
fn same(one: &[u8], two: &[u8]) -> bool {
    match one.len() {
        0 => true,
        1..4 => one.iter().zip(two).fold(true, |all, (a, b)| all & (a == b)),
        4..8 => ends::<4>(one) == ends::<4>(two),
        8..=16 => ends::<8>(one) == ends::<8>(two),
        _ => one == two,
    }
}

#[inline]
fn ends<const N: usize>(text: &[u8]) -> [Option<&[u8; N]>; 2] {
    [text.first_chunk(), text.last_chunk()]
}

#[cold]
fn other() -> Error {
    Error::custom("another text")
}
