//! The hash tree over the journal's lines: RFC 6962, section 2.1, with SHA-256.
//!
//! A leaf is one line, so its hash is at once what the next line carries as `prev`. [`Tree`] takes
//! leaves one after the other and keeps one hash for each bit of its size; proofs are made of hashes
//! of ranges of leaves, wherever these come from ([`Subtrees`]), and checked with none of them.

use std::io;

use sha2::{Digest as _, Sha256};

use crate::digest::Digest;

/// The hash of one line, without its newline.
#[must_use]
pub fn leaf(line: &[u8]) -> Digest {
    let mut hasher = Sha256::new();
    hasher.update([0]);
    hasher.update(line);
    Digest::from_bytes(hasher.finalize().into())
}

/// The hash of two neighbours.
#[must_use]
pub fn node(left: &Digest, right: &Digest) -> Digest {
    let mut hasher = Sha256::new();
    hasher.update([1]);
    hasher.update(left.as_bytes());
    hasher.update(right.as_bytes());
    Digest::from_bytes(hasher.finalize().into())
}

/// The root of a tree without leaves.
#[must_use]
pub fn empty() -> Digest {
    Digest::of(b"")
}

/// A tree that leaves are added to, of which only the roots of its complete subtrees are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    size: u64,
    /// One for each one-bit of `size`, the largest subtree first.
    peaks: Vec<Digest>,
}

impl Tree {
    /// A tree of `size` leaves by the roots of its complete subtrees, the largest first; `None` where
    /// there are not as many of them as `size` has one-bits.
    #[must_use]
    pub fn of_peaks(size: u64, peaks: Vec<Digest>) -> Option<Self> {
        (peaks.len() == size.count_ones() as usize).then_some(Self { size, peaks })
    }

    /// Adds a leaf.
    pub fn push(&mut self, leaf: Digest) {
        let mut hash = leaf;
        // Each trailing one is a complete subtree that the new one completes a larger one with.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                hash = node(&left, &hash);
            }
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// How many leaves it has.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The roots of its complete subtrees, the largest first.
    #[must_use]
    pub fn peaks(&self) -> &[Digest] {
        &self.peaks
    }

    /// The hash of all of it.
    #[must_use]
    pub fn root(&self) -> Digest {
        let mut peaks = self.peaks.iter().rev();
        let Some(&last) = peaks.next() else {
            return empty();
        };
        peaks.fold(last, |right, left| node(left, &right))
    }
}

impl Extend<Digest> for Tree {
    fn extend<T: IntoIterator<Item = Digest>>(&mut self, leaves: T) {
        leaves.into_iter().for_each(|leaf| self.push(leaf));
    }
}

/// Where the hashes of ranges of leaves come from.
pub trait Subtrees {
    /// The root of the tree of leaves `from` to `to`, that one not included; `from` is less than `to`.
    ///
    /// # Errors
    ///
    /// They can't be read.
    fn subtree(&mut self, from: u64, to: u64) -> io::Result<Digest>;
}

/// All leaves in memory.
impl Subtrees for &[Digest] {
    fn subtree(&mut self, from: u64, to: u64) -> io::Result<Digest> {
        let range = usize::try_from(from).ok().zip(usize::try_from(to).ok());
        let leaves = range
            .and_then(|(from, to)| self.get(from..to))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut tree = Tree::default();
        tree.extend(leaves.iter().copied());
        Ok(tree.root())
    }
}

/// Where a tree of `size` leaves, 2 or more, divides: the largest power of two that is less.
pub(super) const fn divide(size: u64) -> u64 {
    1 << (u64::BITS - 1 - (size - 1).leading_zeros())
}

fn out_of_range<T>() -> io::Result<T> {
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        "the tree has no such leaf",
    ))
}

/// The hashes that lead from leaf `index` to the root of the first `size` leaves (RFC 6962, 2.1.1),
/// the leaf's neighbour first.
///
/// # Errors
///
/// There is no such leaf; otherwise those of `hashes`.
pub fn inclusion(
    index: u64,
    size: u64,
    hashes: &mut (impl Subtrees + ?Sized),
) -> io::Result<Vec<Digest>> {
    if index >= size {
        return out_of_range();
    }
    let mut proof = Vec::new();
    let (mut from, mut to) = (0, size);
    while to - from > 1 {
        let middle = from + divide(to - from);
        if index < middle {
            proof.push(hashes.subtree(middle, to)?);
            to = middle;
        } else {
            proof.push(hashes.subtree(from, middle)?);
            from = middle;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// The hashes that show the tree of the first `old` leaves to be the beginning of that of the first
/// `size` (RFC 6962, 2.1.2).
///
/// # Errors
///
/// `old` is more than `size`; otherwise those of `hashes`.
pub fn consistency(
    old: u64,
    size: u64,
    hashes: &mut (impl Subtrees + ?Sized),
) -> io::Result<Vec<Digest>> {
    if old > size {
        return out_of_range();
    }
    // Every tree extends the empty one, and none needs to be shown to be itself.
    if old == 0 || old == size {
        return Ok(Vec::new());
    }
    let mut proof = Vec::new();
    let (mut from, mut to) = (0, size);
    while old != to {
        let middle = from + divide(to - from);
        if old <= middle {
            proof.push(hashes.subtree(middle, to)?);
            to = middle;
        } else {
            proof.push(hashes.subtree(from, middle)?);
            from = middle;
        }
    }
    // Where this is a whole subtree from the first leaf on, it is the old root itself.
    if from > 0 {
        proof.push(hashes.subtree(from, to)?);
    }
    proof.reverse();
    Ok(proof)
}

/// Whether `proof` leads from `leaf` at `index` to the root of a tree of `size` leaves (as RFC 9162,
/// 2.1.3.2, has it for the same trees).
#[must_use]
pub fn includes(leaf: &Digest, index: u64, size: u64, proof: &[Digest], root: &Digest) -> bool {
    if index >= size {
        return false;
    }
    let (mut at, mut last, mut hash) = (index, size - 1, *leaf);
    for other in proof {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            hash = node(other, &hash);
            skip_left_out(&mut at, &mut last);
        } else {
            hash = node(&hash, other);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// Whether `proof` shows that the tree with `old_root` is the beginning of the one with `root`
/// (RFC 9162, 2.1.4.2).
#[must_use]
pub fn extends(old: u64, old_root: &Digest, size: u64, root: &Digest, proof: &[Digest]) -> bool {
    if old > size {
        return false;
    }
    if old == size {
        return proof.is_empty() && old_root == root;
    }
    if old == 0 {
        return proof.is_empty() && *old_root == empty();
    }
    // A complete tree is a subtree of the larger one: its root is not repeated in the proof.
    let (first, rest) = if old.is_power_of_two() {
        (old_root, proof)
    } else if let Some((first, rest)) = proof.split_first() {
        (first, rest)
    } else {
        return false;
    };
    // What both trees have complete; `old - 1` is less than the largest number, so not all of its bits are ones.
    let shared = (old - 1).trailing_ones();
    let (mut at, mut last) = ((old - 1) >> shared, (size - 1) >> shared);
    let (mut before, mut now) = (*first, *first);
    for other in rest {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            before = node(other, &before);
            now = node(other, &now);
            skip_left_out(&mut at, &mut last);
        } else {
            now = node(&now, other);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && before == *old_root && now == *root
}

/// The last node of a level that has no neighbour rises unchanged; a proof has nothing for these levels.
const fn skip_left_out(at: &mut u64, last: &mut u64) {
    while *at & 1 == 0 && *at != 0 {
        *at >>= 1;
        *last >>= 1;
    }
}

#[cfg(test)]
mod tests;
