//! Edits of good bytes, read from the fuzzer's: whoever changes a file changes some of it.

/// What is left of the fuzzer's bytes.
pub struct Edits<'a>(pub &'a [u8]);

impl Edits<'_> {
    /// The next byte, if there is one.
    pub fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> Option<usize> {
        let bytes = [self.byte()?, self.byte()?, self.byte()?];
        let number = bytes
            .iter()
            .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        number.checked_rem(limit)
    }

    /// Some of what is left, as it is.
    fn some(&mut self) -> Option<Vec<u8>> {
        let wanted = usize::from(self.byte()?).min(self.0.len());
        let (some, rest) = self.0.split_at(wanted);
        self.0 = rest;
        Some(some.to_vec())
    }

    /// Changes `bytes` once.
    pub fn apply(&mut self, bytes: &mut Vec<u8>) -> Option<()> {
        let kind = self.byte()?;
        let at = self.below(bytes.len() + 1)?;
        let to = (at + 1 + self.below(400)?).min(bytes.len());
        match kind % 7 {
            0 => *bytes.get_mut(at)? = self.byte()?,
            1 => *bytes.get_mut(at)? ^= 1 << (self.byte()? % 8),
            2 => drop(bytes.splice(at..at, self.some()?)),
            3 => drop(bytes.drain(at..to.max(at))),
            4 => bytes.truncate(at),
            5 => {
                // A piece, and to where it is copied.
                let piece = bytes.get(at..to)?.to_vec();
                let place = self.below(bytes.len() + 1)?;
                drop(bytes.splice(place..place, piece));
            }
            _ => swap_lines(bytes, at, self.below(bytes.len() + 1)?),
        }
        Some(())
    }
}

/// Exchanges the lines that two bytes are in.
fn swap_lines(bytes: &mut Vec<u8>, one: usize, other: usize) {
    let number = |at: usize| bytes.iter().take(at).filter(|byte| **byte == b'\n').count();
    let (one, other) = (number(one), number(other));
    let mut lines: Vec<_> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    if one.max(other) < lines.len() {
        lines.swap(one, other);
        *bytes = lines.concat();
    }
}
